"use strict";

/**
 * Small charts of one iteration axis, a value each, with one cursor through all of them. The cursor follows
 * the pointer and the arrow keys; the readout of each chart says its value there.
 *
 * series: [{name, direction, values (one per iteration), under (a second, fainter line), decimals}]
 * best: iteration that is marked, or undefined
 * onCursor(iteration or null)
 */
function curves({ series, best, label, onCursor = () => {} }) {
  const length = series[0].values.length;
  const live = h("p", { class: "hidden", "aria-live": "polite" });
  const charts = series.map((one) => curve(one, best, (iteration) => moveTo(iteration)));
  let cursor = null;

  function moveTo(iteration, speak = false) {
    cursor = iteration;
    for (const chart of charts) chart.moveTo(iteration);
    onCursor(iteration);
    if (speak && iteration !== null) {
      live.textContent = `Iteration ${iteration}: ` + series.map((one) => `${one.name} ${format(one.values[iteration], one.decimals)}`).join(", ");
    }
  }

  const box = h("div", {
    class: "curves",
    tabIndex: 0,
    role: "group",
    "aria-label": `${label}. ${series.map((one) => one.summary).join(". ")}. Arrow keys walk through the iterations.`,
    onpointerleave: () => moveTo(null),
    onblur: () => moveTo(null),
    onkeydown: (event) => {
      const from = cursor ?? best ?? 0;
      const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: length - 1, Escape: null }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      moveTo(to === null ? null : Math.max(0, Math.min(length - 1, to)), true);
    },
  }, charts.map((chart) => chart.element));
  return h("div", {}, box, live);
}

/** One of the charts. The vertical axis spans the values, and says so by its ticks; it need not begin at 0. */
function curve({ name, direction, values, under = [], decimals, summary }, best, moveTo) {
  const margin = { left: 46, right: 8, top: 10, bottom: 20 };
  const height = 144;
  const picture = s("svg", { "aria-hidden": "true" });
  const readout = h("span", { class: "readout" });
  const element = h("figure", { class: "curve" },
    h("figcaption", {}, h("span", {}, h("span", { class: "name" }, name), direction && h("span", { class: "direction" }, ` ${direction}`)), readout),
    picture);

  const finite = [...values, ...under].filter(Number.isFinite);
  let [low, high] = [Math.min(...finite), Math.max(...finite)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low - room, high + room];
  const y = (value) => height - margin.bottom - ((value - low) / (high - low)) * (height - margin.top - margin.bottom);
  let x = () => 0;
  let cursorLayer = null;

  function draw(width) {
    const right = width - margin.right;
    x = (iteration) => margin.left + (iteration / Math.max(1, values.length - 1)) * (right - margin.left);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const rows = ticks(low, high, 4);
    const columns = ticks(0, values.length - 1, Math.min(5, values.length - 1)).at.filter(Number.isInteger);
    const path = (numbers) => {
      let pen = "M";
      return numbers.map((value, iteration) => {
        if (!Number.isFinite(value)) { pen = "M"; return ""; }
        const step = `${pen}${x(iteration).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = "L";
        return step;
      }).join("");
    };
    cursorLayer = s("g", {});
    picture.replaceChildren(
      ...rows.at.map((value) => s("g", {},
        s("line", { class: "grid", x1: margin.left, x2: right, y1: y(value), y2: y(value) }),
        s("text", { x: margin.left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value, rows.decimals)))),
      s("line", { class: "axis", x1: margin.left, x2: right, y1: height - margin.bottom, y2: height - margin.bottom }),
      ...columns.map((iteration) => s("text", { x: x(iteration), y: height - margin.bottom + 14, "text-anchor": "middle" }, String(iteration))),
      s("line", { class: "start", x1: margin.left, x2: right, y1: y(values[0]), y2: y(values[0]) }),
      ...(best === undefined ? [] : [s("line", { class: "best", x1: x(best), x2: x(best), y1: margin.top - 4, y2: height - margin.bottom })]),
      s("path", { class: "under", d: path(under) }),
      s("path", { class: "line", d: path(values) }),
      ...(best === undefined || !Number.isFinite(values[best]) ? [] : [s("circle", { class: "dot", cx: x(best), cy: y(values[best]), r: 4 })]),
      cursorLayer);
  }

  function pointed(event) {
    const box = picture.getBoundingClientRect();
    const share = (event.clientX - box.left - margin.left) / (box.width - margin.left - margin.right);
    moveTo(Math.max(0, Math.min(values.length - 1, Math.round(share * (values.length - 1)))));
  }
  picture.addEventListener("pointermove", pointed);
  picture.addEventListener("pointerdown", pointed);
  whenSized(element, draw);

  const atRest = () => { readout.textContent = summary; };
  atRest();
  return {
    element,
    moveTo(iteration) {
      if (iteration === null) {
        cursorLayer?.replaceChildren();
        atRest();
        return;
      }
      const value = values[iteration];
      readout.textContent = `iteration ${iteration}: ${format(value, decimals)}`;
      if (under.length > 0) readout.textContent += ` (${format(under[iteration], decimals)})`;
      cursorLayer?.replaceChildren(
        s("line", { class: "cursor", x1: x(iteration), x2: x(iteration), y1: margin.top - 4, y2: height - margin.bottom }),
        ...(Number.isFinite(value) ? [s("circle", { class: "dot", cx: x(iteration), cy: y(value), r: 3.5 })] : []));
    },
  };
}

/**
 * The curves of scores and total loss, and those of noise and time in a fold. rows: numbers, `columns` of them
 * per iteration; bestRows: the same of the best so far, one number for each of `values`, or undefined.
 */
function iterationCurves({ rows, bestRows, columns, values, best, of, onCursor }) {
  const length = rows.length / columns;
  if (length < 2) return null;
  const column = (k) => Array.from({ length }, (_, i) => rows[i * columns + k]);
  const series = values.map((value, k) => {
    const measured = column(k);
    const numbers = bestRows ? Array.from({ length }, (_, i) => bestRows[i * values.length + k]) : measured;
    const decimals = decimalsFor(numbers);
    const target = best === undefined ? numbers[length - 1] : numbers[best];
    return { name: value.name, direction: value.higher ? "higher is better" : "lower is better", values: numbers, under: bestRows && measured, decimals,
      summary: `${format(numbers[0], decimals)} → ${format(target, decimals)}` };
  });
  const others = ["norm of the noise", "norm of the gradient", "seconds"].map((name, k) => {
    const numbers = column(values.length + k);
    const decimals = decimalsFor(numbers);
    const finite = numbers.filter(Number.isFinite);
    return { name, values: numbers, decimals, summary: finite.length ? `${format(Math.min(...finite), decimals)} to ${format(Math.max(...finite), decimals)}` : "" };
  }).filter((one) => one.values.some(Number.isFinite));
  return [
    curves({ series, best, label: `Scores and loss by iteration, ${of}`, onCursor }),
    h("p", { class: "note" }, bestRows ? "Strong: each image’s best so far. Faint (and in brackets): what that iteration gave. " : "", "Horizontally: iterations. Dotted: where it began. ",
      best === undefined ? "" : "Dashed: the best iteration, the one of lowest total loss."),
    others.length > 0 && h("details", {}, h("summary", {}, "Noise, gradient and time"), h("div", { style: "margin-top: 0.75rem" },
      curves({ series: others, best, label: `Noise, gradient and time by iteration, ${of}` }))),
  ];
}

/** How the changes of one value are distributed: a dot per image for a few, a histogram for many. Zero is always on the axis. */
function changeStrip(changes, higher, decimals, name) {
  const [width, height, base] = [192, 42, 27];
  const low = Math.min(0, ...reduced(changes, Math.min));
  const high = Math.max(0, ...reduced(changes, Math.max));
  if (low === high) return null;
  const x = (value) => 6 + ((value - low) / (high - low)) * (width - 12);
  const marks = [];
  if (changes.length <= 40) {
    for (const change of changes) marks.push(s("circle", { class: `point-${verdict(change, higher) || "better"}`, cx: x(change), cy: base - 9, r: 4 }));
  } else {
    const bins = 32;
    const step = (high - low) / bins;
    const shift = Math.ceil(-low / step);  // a bin's edge at zero, so that no bar is half better, half worse
    const counts = new Map();
    for (const change of changes) {
      const bin = Math.floor(change / step + 1e-9) + shift;
      counts.set(bin, (counts.get(bin) || 0) + 1);
    }
    const most = Math.max(...counts.values());
    for (const [bin, count] of counts) {
      const from = Math.max(low, (bin - shift) * step);
      const to = Math.min(high, (bin - shift + 1) * step);
      const size = (count / most) * (base - 3);
      const kind = verdict((bin - shift + 0.5) * step, higher);
      marks.push(s("rect", { class: `bar-${kind}`, x: x(from) + 0.4, width: Math.max(1, x(to) - x(from) - 0.8), y: base - size, height: size }));
    }
  }
  const end = (value, anchor) => s("text", { x: anchor === "start" ? 6 : width - 6, y: height - 2, "text-anchor": anchor }, formatChange(value, Math.max(0, decimalsFor([low, high]) - 2)));
  const zero = x(0);
  return s("svg", { class: "changes", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Changes of ${name} from ${formatChange(low, decimals)} to ${formatChange(high, decimals)}` },
    ...marks,
    s("line", { class: "axis", x1: 6, x2: width - 6, y1: base + 0.5, y2: base + 0.5 }),
    s("line", { class: "axis", x1: zero, x2: zero, y1: 2, y2: base + 4 }),
    low < 0 && end(low, "start"), high > 0 && end(high, "end"),
    zero > 40 && zero < width - 40 && s("text", { x: zero, y: height - 2, "text-anchor": "middle" }, "0"),
    (low === 0 || high === 0) && s("text", { x: zero, y: height - 2, "text-anchor": low === 0 ? "start" : "end" }, "0"));
}

/** Least or greatest of an array that may be too long for the arguments of a call. */
function reduced(values, choose) {
  return values.length === 0 ? [] : [values.reduce((a, b) => choose(a, b))];
}
