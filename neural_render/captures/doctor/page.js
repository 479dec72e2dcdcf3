const canvas = document.getElementById("view"), pen = canvas.getContext("2d");
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const reach = data.reach;
// Points as dark, or as bright, as the page would not be seen.
const seen = data.colors.map(color => `color-mix(in srgb, ${color} 65%, ${dark ? "white" : "black"})`);
let yaw = 0.7, pitch = 0.5, away = 2.6 * reach, shift = [0, 0], mouse = null, axes = null;
function look() {
  const c = Math.cos(pitch), s = Math.sin(pitch), [x, y, z] = data.axes;
  const mix = (a, b, d) => [0, 1, 2].map(i => a * x[i] + b * y[i] + d * z[i]);
  axes = { right: mix(-Math.sin(yaw), Math.cos(yaw), 0),
    up: mix(-s * Math.cos(yaw), -s * Math.sin(yaw), c),
    back: mix(c * Math.cos(yaw), c * Math.sin(yaw), s) };
}
function place(point) {
  const depth = away - dot(point, axes.back);
  if (depth < 0.02 * reach) return null;
  const scale = 0.9 * canvas.height / depth;
  return [canvas.width / 2 + shift[0] + scale * dot(point, axes.right),
    canvas.height / 2 + shift[1] - scale * dot(point, axes.up)];
}
function line(a, b) {
  const p = place(a), q = place(b);
  if (p && q) { pen.moveTo(p[0], p[1]); pen.lineTo(q[0], q[1]); }
}
function stroke(color, width, edges) {
  pen.strokeStyle = color; pen.lineWidth = width * devicePixelRatio; pen.beginPath();
  for (const [a, b] of edges) line(a, b);
  pen.stroke();
}
function frustum(camera) {
  const [tip, ...corners] = camera.corners;
  return corners.flatMap((corner, i) => [[tip, corner], [corner, corners[(i + 1) % 4]]]);
}
function draw() {
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = canvas.clientHeight * devicePixelRatio;
  look();
  const size = 1.5 * devicePixelRatio;
  data.points.forEach((point, i) => {
    const p = place(point);
    if (!p) return;
    pen.fillStyle = seen[i]; pen.fillRect(p[0], p[1], size, size);
  });
  stroke("#d97706", 1.5, data.region);
  for (const camera of data.cameras)
    stroke(camera.bad ? "#dc2626" : dark ? "#6ea0ff" : "#2563eb", camera.bad ? 2 : 1,
      frustum(camera));
}
function under(event) {
  const box = canvas.getBoundingClientRect(), near = [Infinity, ""];
  for (const camera of data.cameras) {
    const p = place(camera.corners[0]);
    if (!p) continue;
    const x = p[0] / devicePixelRatio - (event.clientX - box.left);
    const y = p[1] / devicePixelRatio - (event.clientY - box.top);
    if (Math.hypot(x, y) < Math.min(near[0], 14)) { near[0] = Math.hypot(x, y); near[1] = camera.name; }
  }
  document.getElementById("under").textContent = near[1];
}
canvas.onpointerdown = event => { mouse = event; canvas.setPointerCapture(event.pointerId); };
canvas.onpointerup = () => { mouse = null; };
canvas.onpointermove = event => {
  if (!mouse) return under(event);
  const x = event.clientX - mouse.clientX, y = event.clientY - mouse.clientY;
  if (event.shiftKey) shift = [shift[0] + x * devicePixelRatio, shift[1] + y * devicePixelRatio];
  else {
    yaw -= 0.008 * x;
    pitch = Math.max(-1.55, Math.min(1.55, pitch + 0.008 * y));
  }
  mouse = event; draw();
};
canvas.onwheel = event => {
  event.preventDefault();
  away *= Math.exp(0.001 * event.deltaY); draw();
};
onresize = draw; draw();
