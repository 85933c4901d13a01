"use strict";

const above = (kind) => h("p", { class: "kind" }, kind);

/** What the run was, in one line. */
function factsOf(data) {
  const { run = {}, generator = {}, optimizer = {} } = data.settings;
  const optimizing = run.mode === "optimize";
  return [
    generator.plugin,
    counted(run.iterations, "iteration"),
    optimizing ? optimizer.plugin + (optimizer.lr === undefined ? "" : `, learning rate ${optimizer.lr}`) : run.mode,
    `seed ${run.seed}`,
    data.results?.device && `${run.dtype} on ${data.results.device}`,
    data.results && formatSeconds(data.results.seconds.load + data.results.seconds.encode + data.results.seconds.optimize),
  ].filter(Boolean).join(" · ");
}

/** Initial, best and change of one image. */
function resultTable(data, { initial: before, best: after }) {
  return h("div", { class: "scroll" }, h("table", { class: "values" },
    h("thead", {}, h("tr", {}, h("th", { class: "text" }, "value"), h("th", { class: "weight" }, "weight"), h("th", {}, "initial"), h("th", {}, "best"), h("th", {}, "change"))),
    h("tbody", {}, data.values.map((value, k) => {
      const [initial, best] = [before[k], after[k]];
      const decimals = decimalsFor([initial, best]);
      return h("tr", { class: value.weight === 0 ? "held" : undefined },
        h("th", { class: "text", scope: "row" }, value.name, !value.higher && h("span", { class: "direction" }, " (lower is better)")),
        h("td", { class: "weight" }, value.weight ?? ""),
        h("td", {}, format(initial, decimals)), h("td", {}, format(best, decimals)),
        h("td", { class: verdict(best - initial, value.higher) }, formatChange(best - initial, decimals)));
    }))));
}

function weightNote(data) {
  const held = data.values.some((value) => value.weight === 0);
  return h("p", { class: "note" }, "Total loss: the sum of weight × (the reward’s ceiling − score)", held ? ". Weight 0: measured, not optimised." : ".");
}

/** One image: pictures, numbers, curves. */
function imageView(data, image) {
  const pictures = compare(image);
  const drawn = image.curve && iterationCurves({ rows: unpack(image.curve), columns: data.columns, values: data.values, best: image.at, of: "of this image", onCursor: pictures.showIteration });
  return [
    image.unfinished !== undefined && h("p", { class: "notice" }, `Not finished: ${counted(image.unfinished, "iteration")} so far.`),
    h("section", { class: "result" }, pictures.element, h("div", {}, resultTable(data, image), weightNote(data),
      h("h2", {}, "By iteration"),
      drawn || h("p", { class: "note" }, image.curve ? "There is one iteration only." : "The page carries the curves of the first images only; all numbers stand in metrics.jsonl."),
      image.frames && h("p", { class: "note" }, "The curves move the picture through the images of all iterations."))),
    image.refined && h("section", {}, h("h2", {}, refinedTitle(data)), h("div", { class: "result" },
      compare({ ...image.refined, at: image.at }).element, h("div", {}, resultTable(data, image.refined), refinedNote()))),
  ];
}

const refinedTitle = (data) => `Refined in ${counted(data.settings.refine?.steps ?? 0, "step")}`;
const refinedNote = () => h("p", { class: "note" }, "Images of several steps from the same noise before and after, measured, not optimised.");

/** Means over all images, with the distribution of changes; of those of [refine], where there are such. */
function overview(data) {
  const total = data.all[data.all.length - 1];
  return [h("section", {},
    h("h2", {}, `${integers.format(total.improved)} of ${counted(data.count, "image")} improved`),
    meansTable(data, data.all, data.images),
    weightNote(data),
    h("p", { class: "note" }, "Improved counts images whose value is better than the initial one; the headline counts the total loss. ",
      data.all.some((value) => value.interval !== undefined) && "±: 95 % confidence interval of the mean change over images. ",
      data.images.length <= 40 ? "Changes: one dot per image. " : "Changes: a histogram over the listed images. ")),
  data.refined && h("section", {}, h("h2", {}, refinedTitle(data)),
    meansTable(data, data.refined, data.images.map((image) => image.refined).filter(Boolean)), refinedNote())];
}

/** all: for each value its mean change; images: {initial, best} each. */
function meansTable(data, all, images) {
  return h("div", { class: "scroll" }, h("table", { class: "values" },
    h("thead", {}, h("tr", {}, h("th", { class: "text" }, "mean"), h("th", { class: "weight" }, "weight"), h("th", {}, "initial"), h("th", {}, "best"), h("th", {}, "change"), h("th", {}, "improved"), h("th", { class: "text" }, "changes"))),
    h("tbody", {}, data.values.map((value, k) => {
      const { initial, best, change, interval, improved } = all[k];
      const decimals = decimalsFor([initial, best]);
      return h("tr", { class: value.weight === 0 ? "held" : undefined },
        h("th", { class: "text", scope: "row" }, value.name, !value.higher && h("span", { class: "direction" }, " (lower is better)")),
        h("td", { class: "weight" }, value.weight ?? ""),
        h("td", {}, format(initial, decimals)), h("td", {}, format(best, decimals)),
        h("td", { class: verdict(change, value.higher) }, formatChange(change, decimals), interval !== undefined && h("small", { class: "direction" }, ` ± ${format(interval, decimals)}`)),
        h("td", {}, `${((100 * improved) / data.count).toFixed(0)} %`),
        h("td", { class: "text" }, changeStrip(images.map((image) => image.best[k] - image.initial[k]), value.higher, decimals, value.name)));
    }))));
}

/** The mean changes by category, or whatever labels the prompts have. */
function labelTables(data) {
  return Object.entries(data.labels).map(([label, groups]) => h("section", {}, h("h2", {}, `By ${label}`),
    h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": `By ${label}` }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { class: "text" }, label), h("th", {}, "images"), data.values.map((value) => h("th", {}, value.name)))),
      h("tbody", {}, groups.map((group) => h("tr", {}, h("th", { class: "text", scope: "row" }, group.value), h("td", {}, integers.format(group.count)),
        group.values.map(({ best, change, interval }, k) => {
          const decimals = decimalsFor(groups.map((one) => one.values[k].best));
          return h("td", {}, format(best, decimals), h("small", {}, h("span", { class: verdict(change, data.values[k].higher) }, formatChange(change, decimals)),
            interval === undefined ? "" : h("span", { class: "direction" }, ` ± ${format(interval, decimals)}`)));
        })))))),
    h("p", { class: "note" }, "Mean of the best images, and mean change from the initial ones.")));
}

/** A bar of parts of a whole, with their share in words. parts: [[name, seconds]] */
function timeBar(parts) {
  const whole = parts.reduce((sum, [, seconds]) => sum + seconds, 0);
  const colour = (i) => `var(--part-${((parts.length - 1 - i) % 5) + 1})`;
  return [
    h("div", { class: "bar", "aria-hidden": "true" }, parts.map(([, seconds], i) => h("span", { style: `flex: ${Math.max(1, (1e4 * seconds) / whole)}; background: ${colour(i)}` }))),
    h("ul", { class: "legend" }, parts.map(([name, seconds], i) => h("li", {}, h("i", { style: `background: ${colour(i)}` }), name, h("span", {}, ` ${formatSeconds(seconds)}, ${((100 * seconds) / whole).toFixed(seconds / whole < 0.1 ? 1 : 0)} %`)))),
  ];
}

/** Named numbers of an object and the objects in it: {reward: {hpsv2: 1}} is "reward hpsv2", 1. */
function flattened(object, prefix = "") {
  return Object.entries(object).flatMap(([name, value]) => typeof value === "object" ? flattened(value, `${prefix}${name} `) : [[prefix + name, value]]);
}

/** The parts that make up at least a thousandth of the whole. */
function noticeable(parts) {
  const whole = parts.reduce((sum, [, seconds]) => sum + seconds, 0);
  return parts.filter(([, seconds]) => seconds >= whole / 1000);
}

function timeAndMemory(data) {
  const { results } = data;
  if (!results?.seconds) return null;
  const { load, encode, optimize, per_iteration: each, iteration } = results.seconds;
  return h("section", {}, h("h2", {}, "Time and memory"),
    timeBar([["loading", load], ["encoding prompts", encode], ["optimising", optimize]]),
    h("p", {}, `${formatSeconds(each)} per iteration`, data.settings.run?.batch > 1 ? ` of a batch of ${data.settings.run.batch}` : "", `, ${formatBytes(results.peak_memory_bytes)} of memory at the peak.`),
    iteration && [h("h3", {}, "One iteration"), timeBar(noticeable(flattened(iteration)))]);
}

function settings(data) {
  const { run = {}, generator = {}, optimizer = {}, reward = [], regularization = {} } = data.settings;
  const options = (component) => Object.entries(component).filter(([key, value]) => !["plugin", "name", "weight"].includes(key) && value !== "").map(([key, value]) => `${key} ${value}`).join(", ");
  const rows = [
    ["generator", [generator.plugin, options(generator)]],
    ...reward.map((one) => ["reward", [`${one.name}${one.plugin === one.name ? "" : ` (${one.plugin})`}, weight ${one.weight}`, options(one)]]),
    run.mode === "optimize" && ["optimizer", [optimizer.plugin, options(optimizer)]],
    ["mode", [run.mode, `${counted(run.iterations, "iteration")}, batch ${run.batch}, seed ${run.seed}`]],
    ["noise", [`regularisation weight ${regularization.weight}`]],
    ["device", [data.results?.device ?? run.device, `${run.dtype}, memory ${run.memory}`]],
    ...["reno", "libtorch", "build"].map((name) => [name, [data.results?.versions?.[name]]]),
  ].filter((row) => row && row[1].some(Boolean));
  return h("section", {}, h("h2", {}, "Settings and versions"),
    h("dl", { class: "facts-list" }, rows.map(([name, parts]) => [h("dt", {}, name), h("dd", {}, parts.filter(Boolean).join("; "))])),
    h("details", { style: "margin-top: 1rem" }, h("summary", {}, "The whole experiment file"), h("pre", {}, data.experiment)));
}

function footer(data) {
  const parts = [`Written by reno ${data.version}.`];
  if (data.linked > 0) {
    parts.push(data.carried > 0 ? `The pictures of the first ${counted(data.carried, "image")} are inside of this file; those of the other ${integers.format(data.linked)} are read from the folder beside it.`
      : "The pictures are read from the folder beside this file.");
  }
  return h("footer", {}, h("p", {}, parts.join(" ")));
}

function drawRun(data, page) {
  const single = data.settings.run?.task === "single" && data.images.length === 1;
  document.title = `${single ? data.images[0].text : data.name} – reno`;
  const incomplete = data.results === null || data.results.complete === false || data.images.some((image) => image.unfinished !== undefined);
  const notice = incomplete && h("p", { class: "notice" }, "This run has not come to its end: it goes on, or was stopped. The page shows what there was when it was written.");
  const ending = [timeAndMemory(data), settings(data), footer(data)];

  if (data.images.length === 0) {
    page.replaceChildren();
    append(page, [above("reno run"), h("h1", {}, data.name), notice, h("p", {}, "No image has been measured yet."), settings(data), footer(data)]);
    return;
  }
  if (single) {
    page.replaceChildren();
    append(page, [above(data.name), h("h1", {}, data.images[0].text || "(empty prompt)"), h("p", { class: "facts" }, factsOf(data)), notice, imageView(data, data.images[0]), ending]);
    return;
  }

  const address = (image) => `#prompt-${image.prompt}-${image.seed}`;
  const byAddress = new Map(data.images.map((image) => [address(image), image]));
  const list = imageList(data, address);
  const mean = unpack(data.mean.curve);
  const listed = data.mean.count[0];
  const whole = [
    above("reno run"), h("h1", { tabIndex: -1 }, data.name), h("p", { class: "facts" }, `${counted(data.count, "image")} · ${factsOf(data)}`), notice,
    data.all.length > 0 && overview(data),
    mean.length / data.columns >= 2 && h("section", {}, h("h2", {}, "Mean by iteration"),
      iterationCurves({ rows: mean, bestRows: unpack(data.mean.best), columns: data.columns, values: data.values, of: `mean of ${counted(listed, "image")}` }),
      listed < data.count && h("p", { class: "note" }, `Mean of the ${integers.format(listed)} listed images.`)),
    h("section", {}, h("h2", {}, "Images"), list.element),
    labelTables(data), ending,
  ];

  let place = 0;
  let inside = false;
  function show() {
    const image = byAddress.get(location.hash);
    if (!inside) place = window.scrollY;
    inside = image !== undefined;
    page.replaceChildren();
    if (!image) {
      append(page, whole);
      window.scrollTo(0, place);
      return;
    }
    const [previous, next] = list.neighbours(image);
    const step = (target, name) => target ? h("a", { href: address(target) }, name) : h("span", {}, name);
    const title = h("h1", { tabIndex: -1 }, image.text || "(empty prompt)");
    append(page, [
      h("nav", { class: "pager", "aria-label": "Images" }, h("a", { href: "#" }, "All images"), step(previous, "← Previous"), step(next, "Next →")),
      above([data.name, `prompt ${image.prompt}`, `seed ${image.seed}`, ...Object.entries(image.labels ?? {}).map(([label, value]) => `${label}: ${value}`)].join(" · ")), title,
      imageView(data, image), footer(data)]);
    window.scrollTo(0, 0);
    title.focus({ preventScroll: true });
  }
  window.addEventListener("hashchange", show);
  show();
}
