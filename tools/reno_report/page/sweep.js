"use strict";

/** The middle of an interval is not its mean in general; its half width is what a table has room for. */
const halfWidth = (interval) => (interval[1] - interval[0]) / 2;

/** Whether a difference is one: better, worse, or "" when its interval holds zero. */
function significance(value, higher) {
  const { difference, differenceInterval: interval } = value;
  if (difference === undefined || (interval && interval[0] <= 0 && interval[1] >= 0)) return "";
  return verdict(difference, higher);
}

/**
 * One value over the cells: a dot for the mean, a line for its interval; filled where the objective has the
 * reward. The vertical line is the reference. Rows are those of the table.
 */
function cellPlot(value, k, cells, reference, decimals) {
  const [rowHeight, top, bottom] = [20, 8, 22];
  const rows = cells.filter((cell) => cell.values[k] && Number.isFinite(cell.values[k].best));
  const height = top + rows.length * rowHeight + bottom;
  const drawing = s("svg", { "aria-hidden": "true", style: `height: ${height}px` });
  const element = h("figure", { class: "curve cells" }, h("figcaption", {}, h("span", {}, h("span", { class: "name" }, value.name), h("span", { class: "direction" }, value.higher ? " higher is better" : " lower is better"))), drawing);
  const ends = rows.flatMap((cell) => [cell.values[k].best, ...(cell.values[k].interval || [])]);
  const origin = reference?.values[k]?.best;
  if (Number.isFinite(origin)) ends.push(origin);
  let [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = (high - low || Math.abs(high) || 1) * 0.05;
  [low, high] = [low - room, high + room];
  whenSized(element, (width) => {
    const left = Math.min(176, width * 0.42);
    const x = (number) => left + ((number - low) / (high - low)) * (width - left - 10);
    const scale = ticks(low, high, Math.max(3, Math.floor((width - left) / 70)));
    const letters = Math.floor((left - 12) / 6.2);
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.replaceChildren(
      ...scale.at.map((number) => s("g", {},
        s("line", { class: "grid", x1: x(number), x2: x(number), y1: top, y2: height - bottom }),
        s("text", { x: x(number), y: height - bottom + 14, "text-anchor": "middle" }, format(number, scale.decimals)))),
      ...(Number.isFinite(origin) ? [s("line", { class: "start", x1: x(origin), x2: x(origin), y1: top - 4, y2: height - bottom })] : []),
      ...rows.map((cell, row) => {
        const { best, interval, weight } = cell.values[k];
        const y = top + (row + 0.5) * rowHeight;
        return s("g", {},
          s("title", {}, `${cell.name}: ${format(best, decimals)}${interval ? `, 95 % interval ${format(interval[0], decimals)} to ${format(interval[1], decimals)}` : ""}`),
          s("text", { x: left - 10, y: y + 4, "text-anchor": "end" }, cell.name.length > letters ? cell.name.slice(0, letters - 1) + "…" : cell.name),
          ...(interval ? [s("line", { class: "interval", x1: x(interval[0]), x2: x(interval[1]), y1: y, y2: y })] : []),
          s("circle", { class: weight === 0 ? "dot open" : "dot", cx: x(best), cy: y, r: 4.5 }));
      }));
  });
  return element;
}

/** For one reward: prompts in which the cells differ most, from the best cell to the worst. */
function contrastView(data, contrasts, value) {
  const several = contrasts.some((contrast) => contrast.seed !== contrasts[0].seed);
  return contrasts.map((contrast) => {
    const decimals = decimalsFor(contrast.entries.map((entry) => entry.value));
    return h("div", { class: "contrast" }, h("h3", {}, contrast.text || "(empty prompt)", several && h("span", { class: "direction" }, ` seed ${contrast.seed}`)),
      h("ol", { class: "strip" }, contrast.entries.map((entry, i) => {
        const shown = picture(entry.picture, `${data.cells[entry.cell].name}, ${value} ${format(entry.value, decimals)}`, 200);
        if (entry.picture) shown.loading = "lazy";
        return h("li", {}, shown, h("div", {}, data.cells[entry.cell].name), h("div", { class: "note" }, format(entry.value, decimals),
          i === 0 ? " (best)" : i + 1 === contrast.entries.length ? " (worst)" : ""));
      })));
  });
}

function drawSweep(data, page) {
  document.title = `${data.name} – reno`;
  const { values } = data;
  const rowsPlotted = 40;
  const rowsPerPage = 100;
  const finished = data.cells.filter((cell) => cell.status === "done");
  const problems = data.cells.filter((cell) => cell.status !== "done");
  const reference = finished.find((cell) => cell.values.some((value) => value && value.difference === undefined) && finished.some((other) => other !== cell && other.values.some((value) => value?.difference !== undefined)));
  const decimals = values.map((_, k) => decimalsFor(finished.map((cell) => cell.values[k]?.best)));
  const state = { query: "", order: null, falling: true, differences: false, shown: rowsPerPage };

  function selected() {
    const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = finished.filter((cell) => words.every((word) => cell.name.toLowerCase().includes(word)));
    if (state.order === null) return found;
    const key = state.order === "name" ? (cell) => cell.name.toLowerCase() : (cell) => cell.values[state.order]?.best ?? NaN;
    const sign = state.falling ? -1 : 1;
    return found.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return x === y ? 0 : x < y ? -sign : sign;
    });
  }

  function cellEntry(cell, k) {
    const value = cell.values[k];
    if (!value) return h("td", {}, "–");
    const held = value.weight === 0;
    const mark = held && h("span", { class: "mark", title: "not in this objective" }, "○ ");
    if (state.differences && cell !== reference) {
      const kind = significance(value, values[k].higher);
      return h("td", {}, mark, h("span", { class: kind || "direction" }, formatChange(value.difference, decimals[k])),
        value.differenceInterval && h("small", { class: "direction" }, `${formatChange(value.differenceInterval[0], decimals[k])} to ${formatChange(value.differenceInterval[1], decimals[k])}`));
    }
    return h("td", {}, mark, format(value.best, decimals[k]), value.interval && h("small", { class: "direction" }, `± ${format(halfWidth(value.interval), decimals[k])}`));
  }

  const list = h("div", {});
  const plots = h("div", { class: "curves" });
  const status = h("p", { class: "note", role: "status" });
  const more = h("button", { type: "button", class: "more", onclick: () => { state.shown += rowsPerPage; draw(); } });
  const plotNote = h("p", { class: "note" });

  function draw() {
    const cells = selected();
    const heading = (key, name, properties = {}) => {
      const active = state.order === key;
      return h("th", { scope: "col", "aria-sort": active && (state.falling ? "descending" : "ascending"), ...properties },
        h("button", { type: "button", "data-sort": String(key), title: `Sort by ${name}`, onclick: () => {
          state.falling = active ? !state.falling : key !== "name" && values[key].higher;
          state.order = key;
          draw();
          list.querySelector(`[data-sort="${key}"]`).focus();
        } }, name));
    };
    const shown = cells.slice(0, state.shown);
    list.replaceChildren(cells.length === 0 ? h("p", { class: "empty" }, "No cell has all of these words.") : h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Cells" }, h("table", { class: "cells-table" },
      h("thead", {}, h("tr", {}, heading("name", "objective", { class: "text" }), h("th", {}, "images"), values.map((value, k) => heading(k, value.name)))),
      h("tbody", {}, shown.map((cell) => h("tr", {},
        h("th", { class: "text", scope: "row" }, cell.page ? h("a", { href: cell.page }, cell.name) : cell.name, cell === reference && h("span", { class: "direction" }, " (reference)")),
        h("td", {}, integers.format(cell.images)), values.map((_, k) => cellEntry(cell, k))))))));
    more.hidden = shown.length === cells.length;
    more.textContent = `Show ${Math.min(rowsPerPage, cells.length - shown.length)} more`;
    status.textContent = cells.length === finished.length ? counted(cells.length, "cell") : `${integers.format(cells.length)} of ${counted(finished.length, "cell")}`;
    const plotted = cells.slice(0, rowsPlotted);
    plots.replaceChildren(...(plotted.length > 0 ? values.map((value, k) => cellPlot(value, k, plotted, reference, decimals[k])) : []));
    plotNote.textContent = "Rows in the order of the table" + (cells.length > rowsPlotted ? `, the first ${rowsPlotted}` : "") + ". Line: 95 % interval. Open dot: not in that objective." + (reference ? ` Dotted: ${reference.name}.` : "");
  }

  const search = h("input", { type: "search", placeholder: "Search objectives", "aria-label": "Search objectives", oninput: () => { Object.assign(state, { query: search.value, shown: rowsPerPage }); draw(); } });
  const modes = reference && ["Means", `Differences to ${reference.name}`].map((name, i) => h("button", { type: "button", "aria-pressed": String(i === 0), onclick: () => {
    state.differences = i === 1;
    modes.forEach((button, m) => button.setAttribute("aria-pressed", String(m === i)));
    draw();
  } }, name));
  draw();

  const rewards = Object.keys(data.contrasts);
  const contrasts = h("div", {});
  const choose = h("select", { "aria-label": "Reward", onchange: () => contrasts.replaceChildren(...contrastView(data, data.contrasts[choose.value], choose.value)) }, rewards.map((name) => h("option", { value: name }, `most different in ${name}`)));
  if (rewards.length > 0) choose.dispatchEvent(new Event("change"));

  page.replaceChildren();
  append(page, [
    above("reno sweep"), h("h1", {}, data.name), h("p", { class: "facts" }, [data.settings.sweep?.kind, counted(data.cells.length, "cell"), factsOf({ ...data, results: null })].filter(Boolean).join(" · ")),
    problems.length > 0 && h("p", { class: "notice" }, `${counted(problems.length, "cell")} without a result: `, problems.map((cell) => `${cell.name} (${cell.status})`).join(", "), "."),
    h("section", {}, h("h2", {}, "Objectives and what they reach"),
      h("div", { class: "tools" }, search, modes && h("div", { class: "group", role: "group", "aria-label": "What the table shows" }, modes)), status, list, more,
      h("p", { class: "note" }, "Mean over the best images, ±: half the width of its 95 % interval. ○: the reward is not in that objective, but measured. Differences are paired by prompt and seed; coloured where the 95 % interval leaves out zero.")),
    h("section", {}, h("h2", {}, "Compared"), plots, plotNote),
    rewards.length > 0 && h("section", {}, h("h2", {}, "The same prompt under different objectives"), h("div", { class: "tools" }, choose), contrasts),
    settings(data), footer(data),
  ]);
}
