"use strict";
/* The viewer of pictures: two of a view with a line between them. It reads the strips of the page,
   which show the same without it. */
function openViewer(viewer) {
  const find = selector => viewer.querySelector(selector);
  const strips = [...document.querySelectorAll(".strip")];
  const stage = find(".stage"), front = find(".front"), behind = find(".behind");
  const divider = find(".divider"), film = find(".film");
  const sides = { left: find("select.left"), right: find("select.right") };
  let shown = 0, split = 0.5, zoom = 1, middle = [0.5, 0.5];
  const pictures = strip => [...strip.querySelectorAll("img")];
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function scale() {
    const [width, height] = size();
    return zoom * Math.min(stage.clientWidth / width, stage.clientHeight / height);
  }
  function size() {
    const first = pictures(strips[shown])[0];
    return [Number(first.getAttribute("width")), Number(first.getAttribute("height"))];
  }
  function place() {
    const [width, height] = size(), s = scale();
    const room = [stage.clientWidth, stage.clientHeight], drawn = [s * width, s * height];
    const start = [0, 1].map(axis => {
      const half = 0.5 * room[axis] / drawn[axis];
      middle[axis] = half > 0.5 ? 0.5 : clamp(middle[axis], half, 1 - half);
      return 0.5 * room[axis] - middle[axis] * drawn[axis];
    });
    for (const image of [front, behind]) {
      image.style.width = width + "px"; image.style.height = height + "px";
      image.style.transform = `translate(${start[0]}px, ${start[1]}px) scale(${s})`;
    }
    const left = Math.max(0, start[0]), right = Math.min(room[0], start[0] + drawn[0]);
    const line = left + split * (right - left);
    const share = clamp((line - start[0]) / drawn[0], 0, 1);
    front.style.clipPath = `inset(0 ${100 * (1 - share)}% 0 0)`;
    divider.style.left = line + "px";
    divider.style.top = Math.max(0, start[1]) + "px";
    divider.style.bottom = Math.max(0, room[1] - start[1] - drawn[1]) + "px";
    stage.classList.toggle("near", zoom > 1);
    stage.classList.toggle("sharp", s * devicePixelRatio > 2.5);
    find("output").textContent = zoom > 1 ? Math.round(100 * s) + " %" : "fit";
    return { left, right, line };
  }
  function show(index) {
    shown = (index + strips.length) % strips.length;
    const strip = strips[shown], images = pictures(strip);
    front.src = images[sides.left.value].src; behind.src = images[sides.right.value].src;
    front.alt = images[sides.left.value].alt; behind.alt = images[sides.right.value].alt;
    find(".what b").textContent = strip.dataset.view;
    find(".what .soft").textContent = strip.dataset.caption;
    [...film.children].forEach((button, i) => button.classList.toggle("chosen", i === shown));
    const chosen = film.children[shown];
    if (film.scrollHeight > film.clientHeight)
      film.scrollTop = chosen.offsetTop - 0.5 * (film.clientHeight - chosen.clientHeight);
    film.scrollLeft = chosen.offsetLeft - 0.5 * (film.clientWidth - chosen.clientWidth);
    place();
  }
  function nearer(factor, event) {
    const box = stage.getBoundingClientRect(), [width, height] = size(), before = scale();
    const at = event ? [event.clientX - box.left, event.clientY - box.top]
      : [0.5 * box.width, 0.5 * box.height];
    const off = [(at[0] - 0.5 * box.width) / width, (at[1] - 0.5 * box.height) / height];
    zoom = clamp(zoom * factor, 1, 64 / (before / zoom));
    middle = middle.map((value, axis) => value + off[axis] * (1 / before - 1 / scale()));
    place();
  }
  function fill(on) {
    viewer.classList.toggle("full", on); document.body.classList.toggle("filled", on);
    find("[data-do=full]").textContent = on ? "back to the page" : "full window";
    place();
    if (on) stage.focus();
  }

  for (const side of ["left", "right"]) {
    pictures(strips[0]).forEach((image, i) => {
      const label = image.nextElementSibling.textContent;
      sides[side].add(new Option(label, i));
    });
    sides[side].value = viewer.dataset[side];
    sides[side].onchange = () => show(shown);
  }
  strips.forEach((strip, index) => {
    const button = document.createElement("button"), images = pictures(strip);
    const thumb = new Image(), name = document.createElement("span");
    const brief = document.createElement("small");
    thumb.src = images[Number(viewer.dataset.left)].src; thumb.alt = ""; thumb.loading = "lazy";
    name.textContent = button.title = strip.dataset.view;
    brief.textContent = strip.dataset.brief;
    button.type = "button"; button.append(thumb, name, brief);
    button.onclick = () => show(index);
    film.append(button);
    images.forEach((image, layer) => image.addEventListener("click", () => {
      if (String(layer) === sides.left.value) split = 0.9;
      else { sides.right.value = layer; split = 0.1; }
      show(index); fill(true);
    }));
  });
  for (const place of document.querySelectorAll("[data-view]:not(.strip)")) {
    const index = strips.findIndex(strip => strip.dataset.view === place.dataset.view);
    if (index < 0) continue;
    place.classList.add("drawn");
    place.addEventListener("click", () => {
      show(index); viewer.scrollIntoView({ block: "center", behavior: "smooth" });
    });
  }

  const fingers = new Map();
  let drag = null;
  stage.onpointerdown = event => {
    if (event.target.tagName === "SELECT" || event.button) return;
    fingers.set(event.pointerId, event);
    const box = stage.getBoundingClientRect(), { line } = place();
    const onLine = Math.abs(event.clientX - box.left - line) < 24;
    drag = zoom === 1 || onLine ? "line" : "picture";
    stage.setPointerCapture(event.pointerId);
    stage.onpointermove(event);
  };
  stage.onpointermove = event => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    fingers.set(event.pointerId, event);
    const [width, height] = size(), s = scale();
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(pair => pair[1]);
      const apart = e => Math.hypot(e.clientX - other.clientX, e.clientY - other.clientY);
      nearer(apart(event) / Math.max(apart(before), 1), event);
    } else if (drag === "line") {
      const { left, right } = place(), box = stage.getBoundingClientRect();
      split = clamp((event.clientX - box.left - left) / (right - left), 0, 1);
      place();
    } else {
      middle = [middle[0] - (event.clientX - before.clientX) / (s * width),
        middle[1] - (event.clientY - before.clientY) / (s * height)];
      place();
    }
  };
  stage.onpointerup = stage.onpointercancel = event => fingers.delete(event.pointerId);
  stage.ondblclick = event => {
    if (event.target.tagName !== "SELECT") nearer(zoom > 1 ? 1 / zoom : 4, event);
  };
  stage.addEventListener("wheel", event => {
    if (!viewer.classList.contains("full") && !event.ctrlKey && zoom === 1) return;
    event.preventDefault(); nearer(Math.exp(-0.002 * event.deltaY), event);
  }, { passive: false });
  const actions = {
    previous: () => show(shown - 1), next: () => show(shown + 1),
    in: () => nearer(1.5), out: () => nearer(1 / 1.5),
    full: () => fill(!viewer.classList.contains("full")),
  };
  for (const button of viewer.querySelectorAll("[data-do]"))
    button.onclick = actions[button.dataset.do];
  const keys = {
    ArrowLeft: actions.previous, ArrowRight: actions.next, f: actions.full, "+": actions.in,
    "=": actions.in, "-": actions.out, Escape: () => fill(false),
    " ": () => { split = split > 0.5 ? 0 : 1; place(); },
  };
  document.addEventListener("keydown", event => {
    const here = viewer.classList.contains("full") || viewer.contains(document.activeElement);
    if (!here || /SELECT|BUTTON/.test(event.target.tagName) && event.key === " ") return;
    if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
  document.body.classList.add("live");
  viewer.closest("[hidden]").hidden = false;
  new ResizeObserver(place).observe(stage);
  show(0);
}
document.querySelectorAll(".viewer").forEach(openViewer);
