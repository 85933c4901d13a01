"use strict";

/** A picture that is enlarged, so that its pixels stay pixels, or "no picture". */
function picture(source, description, shown) {
  if (!source) return h("div", { class: "missing" }, "no picture");
  const image = h("img", { src: source.src, alt: description, width: source.width, height: source.height, decoding: "async", draggable: false });
  if (source.width * 2 <= shown) image.classList.add("few");
  image.addEventListener("error", () => image.replaceWith(h("div", { class: "missing" }, "this picture is not beside the page any more")));
  return image;
}

/**
 * Before and after: the initial picture left of a line that is moved by pointer, touch or arrow keys; or both
 * side by side. `showIteration(i)` puts another iteration's picture in the place of the best one, where a run
 * has saved them; null puts the best one back.
 */
function compare(image) {
  const shown = 544;
  const after = picture(image.after, `best, iteration ${image.at}`, shown);
  const before = picture(image.before, "initial", shown);
  if (!image.before || !image.after) {
    return { element: h("figure", { class: "compare side" }, h("div", { class: "frame" }, before, after)), showIteration() {} };
  }
  const right = h("span", { class: "tag right" });
  const frame = h("div", { class: "frame" });
  const slider = h("input", { type: "range", min: 0, max: 100, step: 1, value: 50, "aria-label": "How much of the initial image is shown" });
  const move = () => {
    frame.style.setProperty("--cut", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value} % initial, ${100 - slider.value} % best`);
  };
  slider.addEventListener("input", move);
  append(frame, [after, h("div", { class: "before" }, before), h("span", { class: "tag left" }, "initial"), right, h("div", { class: "divider" }), slider]);
  move();

  const figure = h("figure", { class: "compare" }, frame);
  const buttons = ["Slider", "Side by side"].map((name, i) => h("button", { type: "button", "aria-pressed": String(i === 0), onclick: () => {
    figure.classList.toggle("side", i === 1);
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === i)));
  } }, name));
  figure.append(h("div", { class: "tools" }, h("div", { class: "group", role: "group", "aria-label": "How the images are compared" }, buttons)));

  function showIteration(iteration) {
    const frames = image.frames;
    const other = frames && iteration !== null && iteration < frames.count;
    right.textContent = other ? `iteration ${iteration}` : `best, iteration ${image.at}`;
    const wanted = other ? `${frames.folder}/${String(iteration).padStart(5, "0")}.png` : image.after.src;
    if (after.getAttribute("src") !== wanted) after.src = wanted;
  }
  showIteration(null);
  return { element: figure, showIteration };
}
