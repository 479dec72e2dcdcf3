"use strict";
/* A line under the pointer in every chart, and the values where it stands. */
{
  const charts = JSON.parse(document.getElementById("charts")?.textContent ?? "[]");
  const figures = [...document.querySelectorAll(".chart")];
  const digits = value => {
    for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(value) >= size) return Number((value / size).toPrecision(4)) + letter;
    return String(Number(value.toPrecision(4)));
  };
  const at = (value, axis) => axis === "step" ? `step ${Math.round(value).toLocaleString("en")}`
    : value < 150 ? `${value.toFixed(1)} s`
    : value < 9000 ? `${(value / 60).toFixed(1)} min` : `${(value / 3600).toFixed(2)} h`;
  const make = (name, parent, entries) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(entries)) node.setAttribute(key, value);
    parent.append(node); return node;
  };
  const parts = charts.map((chart, index) => {
    const svg = figures[index].querySelector("svg");
    const drawn = [...svg.querySelectorAll("polyline")].map(line => line.getAttribute("points"));
    const lines = chart.lines.map((line, run) => ({
      ...line, points: drawn[run].split(" ").map(pair => pair.split(",").map(Number)),
    }));
    return { ...chart, lines, svg, marks: null, ticks: [...svg.querySelectorAll("text.x")],
      last: figures[index].querySelector(".values").innerHTML };
  });
  function nearest(xs, wanted) {
    let low = 0, high = xs.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] < wanted) low = middle; else high = middle;
    }
    return wanted - xs[low] < xs[high] - wanted ? low : high;
  }
  function clear() {
    parts.forEach((chart, index) => {
      chart.marks?.remove(); chart.marks = null;
      for (const tick of chart.ticks) tick.style.visibility = "";
      figures[index].querySelector(".values").innerHTML = chart.last;
    });
  }
  function mark(axis, value) {
    clear();
    parts.forEach((chart, index) => {
      if (chart.axis !== axis) return;
      chart.marks = make("g", chart.svg, {});
      const values = figures[index].querySelectorAll(".values b");
      let across = null, said = 0;
      chart.lines.forEach((line, run) => {
        if (!line.x.length) return;
        const text = values[said++];
        if (value > line.x[line.x.length - 1] + 1e-9 && chart.lines.length > 1) { text.textContent = "–"; return; }
        const i = nearest(line.x, value), [x, y] = line.points[i];
        text.textContent = digits(line.y[i]); across ??= [x, line.x[i]];
        make("circle", chart.marks, { class: `s${run % 8}`, cx: x, cy: y, r: 3.5 });
      });
      if (!across) return;
      const box = chart.svg.viewBox.baseVal, place = Math.min(Math.max(across[0], 70), box.width - 26);
      for (const tick of chart.ticks)
        tick.style.visibility = Math.abs(tick.getAttribute("x") - place) < 46 ? "hidden" : "";
      make("text", chart.marks, { class: "x at", x: place, y: box.height - 5 }).textContent =
        at(across[1], axis);
      const line = make("path", chart.marks, { class: "cursor", d: `M${across[0]} 8V${box.height - 22}` });
      chart.marks.prepend(line);
    });
  }
  parts.forEach(chart => {
    const longest = chart.lines.reduce((a, b) => (b.x.at(-1) ?? -1) > (a.x.at(-1) ?? -1) ? b : a);
    let place = longest.x.length - 1;
    const valueAt = event => {
      const point = new DOMPoint(event.clientX, event.clientY)
        .matrixTransform(chart.svg.getScreenCTM().inverse());
      place = nearest(longest.points.map(pair => pair[0]), point.x);
      mark(chart.axis, longest.x[place]);
    };
    chart.svg.onpointermove = chart.svg.onpointerdown = valueAt;
    chart.svg.onpointerleave = chart.svg.onblur = clear;
    chart.svg.onkeydown = event => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      place = Math.min(Math.max(place + by, 0), longest.x.length - 1);
      mark(chart.axis, longest.x[place]);
    };
  });
}
