"""A communicator whose ranks are threads of this process: as much of mpi4py's as fastmlp uses."""

import pickle
import threading

import numpy as np


class Aborted(BaseException):
    """A rank has called Abort."""


class ThreadCommunicator:
    def __init__(self, rank, size, board, barrier):
        self.rank, self.size, self.board, self.barrier = rank, size, board, barrier

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.size

    def _exchange(self, value):
        """All ranks' values, in their order."""
        self.board[self.rank] = value
        try:
            self.barrier.wait(60)
            values = list(self.board)
            self.barrier.wait(60)
        except threading.BrokenBarrierError:
            raise Aborted from None
        return values

    def allgather(self, value):
        return [pickle.loads(data) for data in self._exchange(pickle.dumps(value))]

    def bcast(self, value, root=0):
        return pickle.loads(self._exchange(pickle.dumps(value))[root])

    def Bcast(self, buffer, root=0):
        buffer[...] = self._exchange(buffer.copy())[root]

    def Allreduce(self, send, receive):
        receive[...] = np.sum(self._exchange(send.copy()), axis=0, dtype=send.dtype)

    def Abort(self, code):
        self.barrier.abort()


def on_ranks(size, function):
    """What `function` of a communicator returns, or the error that it raises, on every rank."""
    board, barrier, results = [None] * size, threading.Barrier(size), [None] * size

    def work(rank):
        try:
            results[rank] = function(ThreadCommunicator(rank, size, board, barrier))
        except BaseException as error:
            results[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
