"use strict";
// The page of `fastmlp demo`: keeps strokes, sends the drawing's pixels, shows what the network answers.
const { token, labels, side } = JSON.parse(document.getElementById("state").textContent);
const $ = (id) => document.getElementById(id);
const PEN = 0.08; // width of a line over the pad's side: of a digit that fills most of it, as in MNIST
const KEY_STEP = 0.02; // of the pad's side
const QUIET = 700; // ms without a change after which the answer is spoken

const pad = $("pad");
const pixels = document.createElement("canvas"); // what is sent, side x side
pixels.width = pixels.height = side;
const pixelContext = pixels.getContext("2d", { willReadFrequently: true });
const rows = [];
let strokes = []; // lists of points [x, y] from 0 to 1
let stroke = null; // the one being drawn
let pointer = null; // the pointer that draws it
const pen = { x: 0.5, y: 0.2, down: false, shown: false }; // moved by the keyboard
let spoken = 0;

// ------------------------------------------------------------------------------------------------ drawing

function trace(context, size) {
  context.clearRect(0, 0, size, size);
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = PEN * size;
  context.strokeStyle = "#fff";
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(points[0][0] * size, points[0][1] * size);
    for (const [x, y] of points) context.lineTo(x * size, y * size); // a single point becomes a dot
    context.stroke();
  }
}

function paint() {
  const size = Math.round(pad.clientWidth * (window.devicePixelRatio || 1));
  if (pad.width !== size) pad.width = pad.height = size;
  const context = pad.getContext("2d");
  trace(context, size);
  if (pen.shown) {
    context.lineWidth = size / 150;
    context.strokeStyle = pen.down ? "#ffb454" : "#6cb0ff";
    context.beginPath();
    context.arc(pen.x * size, pen.y * size, (PEN * size) / 2, 0, 2 * Math.PI);
    context.stroke();
  }
  $("hint").hidden = strokes.length > 0 || pen.shown;
  $("undo").disabled = $("clear").disabled = strokes.length === 0;
}

function changed() {
  paint();
  ask();
}

function place(event) {
  const box = pad.getBoundingClientRect();
  const within = (value) => Math.min(1, Math.max(0, value));
  return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
}

pad.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  event.preventDefault();
  pad.focus({ preventScroll: true });
  pen.shown = pen.down = false;
  pointer = event.pointerId;
  pad.setPointerCapture(pointer);
  stroke = [place(event)];
  strokes.push(stroke);
  changed();
});
pad.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const each of events.length ? events : [event]) stroke.push(place(each));
  changed();
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
  pad.addEventListener(name, (event) => {
    if (event.pointerId === pointer) pointer = stroke = null;
  });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const held = new Set();

pad.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in ARROWS) {
    held.add(event.key);
    movePen(event.shiftKey ? 3 * KEY_STEP : KEY_STEP);
  } else if (event.key === " " || event.key === "Enter") {
    if (!event.repeat) togglePen();
  } else if (event.key === "Delete" || event.key === "Backspace") {
    clear();
  } else if (event.key === "z" || event.key === "Z") {
    undo();
  } else {
    return;
  }
  event.preventDefault();
});
pad.addEventListener("keyup", (event) => held.delete(event.key));
pad.addEventListener("blur", () => {
  held.clear();
  if (pen.shown) {
    liftPen();
    pen.shown = false;
    paint();
  }
});

function movePen(step) {
  pen.shown = true;
  for (const key of held) {
    pen.x = Math.min(1, Math.max(0, pen.x + ARROWS[key][0] * step));
    pen.y = Math.min(1, Math.max(0, pen.y + ARROWS[key][1] * step));
  }
  if (!pen.down) return paint();
  stroke.push([pen.x, pen.y]);
  changed();
}

function togglePen() {
  if (pointer !== null) return;
  pen.shown = true;
  if (pen.down) {
    liftPen();
    say("Pen up");
    return paint();
  }
  pen.down = true;
  say("Pen down");
  stroke = [[pen.x, pen.y]];
  strokes.push(stroke);
  changed();
}

function liftPen() {
  pen.down = false;
  if (pointer === null) stroke = null;
}

function clear() {
  liftPen();
  strokes = [];
  changed();
}

function undo() {
  liftPen();
  strokes.pop();
  changed();
}

$("clear").addEventListener("click", clear);
$("undo").addEventListener("click", undo);
new ResizeObserver(paint).observe(pad);

// ------------------------------------------------------------------------------------------------ requests

function drawing() {
  trace(pixelContext, side);
  const rgba = pixelContext.getImageData(0, 0, side, side).data;
  const gray = new Uint8Array(side * side);
  for (let i = 0; i < gray.length; i++) gray[i] = rgba[4 * i + 3]; // white lines on nothing: how opaque they are
  return gray;
}

async function post(path) {
  const response = await fetch(path, { method: "POST", headers: { "X-Fastmlp-Token": token }, body: drawing() });
  if (!response.ok) throw new Error((await response.text()).trim());
  $("problem").textContent = "";
  return response.json();
}

function complain(error) {
  $("problem").textContent = error instanceof TypeError ? "The demo has ended: start fastmlp demo again." : error.message;
}

let waiting = Promise.resolve(); // until the requests so far are answered
let asked = false; // whether the drawing, as it will be then, is among those that wait

// Requests wait for each other, so that no answer is shown after one that the network gave later.
function inOrder(request) {
  waiting = waiting.then(request).catch(complain);
}

function ask() {
  if (asked) return;
  asked = true;
  inOrder(async () => {
    asked = false;
    const answer = await post("/predict");
    clearMarks();
    show(answer);
  });
}

async function teach(index) {
  if (strokes.length === 0) {
    $("lesson").textContent = "Draw something first.";
    return;
  }
  const { before, after, learning_rate } = await post(`/learn?label=${index}`);
  show(after, before);
  const [was, is] = [before, after].map((answer) => percent(answer.probabilities[index]));
  $("lesson").replaceChildren(
    text("b", labels[index]), " was ", text("span", was, "was"), " and is now ", text("b", is),
    `, after one step of training at the learning rate ${learning_rate}.`,
  );
  for (const [i, button] of [...$("labels").children].entries()) button.classList.toggle("taught", i === index);
  $("forget").disabled = false;
}

async function forget() {
  show(await post("/forget"));
  clearMarks();
  $("lesson").textContent = "The network is as it was at the start.";
  $("forget").disabled = true;
  pad.focus();
}

$("forget").addEventListener("click", () => inOrder(forget));

// ------------------------------------------------------------------------------------------------ answers

const percent = (p) => `${(100 * p).toFixed(p > 0.0005 && p < 0.9995 ? 1 : 0)}%`;

function text(tag, content, name) {
  const element = document.createElement(tag);
  element.textContent = content;
  if (name) element.className = name;
  return element;
}

function build() {
  labels.forEach((label, index) => {
    const row = $("probabilities").tBodies[0].insertRow();
    const head = text("th", label);
    head.scope = "row";
    const bar = text("div", "", "bar");
    bar.setAttribute("aria-hidden", "true");
    const fill = bar.appendChild(text("div", "", "fill"));
    const mark = bar.appendChild(text("div", "", "mark"));
    mark.hidden = true;
    row.append(head);
    row.insertCell().append(bar);
    rows.push({ row, fill, mark, value: row.insertCell() });
    const button = text("button", label);
    button.type = "button";
    button.setAttribute("aria-label", `It is ${label}`);
    button.addEventListener("click", () => inOrder(() => teach(index)));
    $("labels").append(button);
  });
}

function clearMarks() {
  for (const { mark } of rows) mark.hidden = true;
  for (const button of $("labels").children) button.classList.remove("taught");
}

function show(answer, before) {
  const empty = strokes.length === 0;
  const top = empty ? -1 : answer.probabilities.indexOf(Math.max(...answer.probabilities));
  rows.forEach(({ row, fill, mark, value }, i) => {
    const p = empty ? 0 : answer.probabilities[i];
    fill.style.width = `${100 * p}%`;
    value.textContent = empty ? "–" : percent(p);
    row.classList.toggle("top", i === top);
    if (before) {
      mark.style.left = `${100 * before.probabilities[i]}%`;
      mark.hidden = before.probabilities[i] < 0.005 && p < 0.005;
    }
  });
  $("answer").textContent = empty ? "?" : labels[top];
  const sentence = empty ? "Nothing is drawn" : `It is ${labels[top]}, ${percent(answer.probabilities[top])}`;
  gray($("seen"), answer.seen, 28, 255);
  $("seen").setAttribute("aria-label", empty ? sentence : `28 by 28 pixels of the drawing, read as ${labels[top]}`);
  showUnits(answer.units, empty);
  clearTimeout(spoken);
  spoken = setTimeout(() => say(sentence), QUIET);
}

function say(sentence) {
  $("spoken").textContent = sentence;
}

function showUnits(layers, empty) {
  while ($("units").children.length < layers.length) {
    const figure = document.createElement("figure");
    const canvas = figure.appendChild(document.createElement("canvas"));
    canvas.setAttribute("role", "img");
    figure.append(document.createElement("figcaption"));
    $("units").append(figure);
  }
  layers.forEach((units, i) => {
    const [canvas, caption] = $("units").children[i].children;
    const columns = Math.ceil(Math.sqrt(2 * units.length)); // twice as wide as high
    const most = empty ? Infinity : Math.max(1e-6, ...units.map(Math.abs));
    gray(canvas, units.map(Math.abs), columns, most);
    const active = empty ? 0 : units.filter((value) => Math.abs(value) > 0.05 * most).length;
    const summary = `Hidden layer ${i + 1}: ${active} of ${units.length} units are active`;
    canvas.setAttribute("aria-label", summary);
    caption.textContent = `${summary}. The brighter, the stronger.`;
  });
}

// Paints values from 0 to `most` as gray cells in rows of `columns`.
function gray(canvas, values, columns, most) {
  canvas.width = columns;
  canvas.height = Math.ceil(values.length / columns);
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  values.forEach((value, i) => image.data.set([255, 255, 255, Math.round((255 * value) / most)], 4 * i));
  context.putImageData(image, 0, 0);
}

build();
paint();
ask();
