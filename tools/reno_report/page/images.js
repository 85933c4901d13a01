"use strict";

/** The list of a run's images: searched, filtered by label, sorted; as pictures or as a table; a page at a time. */
function imageList(data, link) {
  const page = 60;
  const values = data.values;
  const many = new Set(data.images.map((image) => image.seed)).size > 1;
  const labels = Object.keys(data.labels);
  const decimals = values.map((_, k) => decimalsFor([...reduced(data.images.map((image) => image.best[k]), Math.max), ...reduced(data.images.map((image) => image.initial[k]), Math.max)]));
  const changes = (k) => (image) => image.best[k] - image.initial[k];
  const haystacks = data.images.map((image) => [image.prompt, image.text, ...Object.values(image.labels || {})].join(" ").toLowerCase());

  // What can be sorted by; `falling`: the order that one wants first.
  const orders = [
    { key: "number", name: "order of the run", of: (image) => image.prompt * 1e6 + image.seed, falling: false },
    { key: "text", name: "prompt", of: (image) => image.text.toLowerCase(), falling: false },
    ...values.flatMap((value, k) => [
      { key: `change-${k}`, name: `change of ${value.name}`, of: changes(k), falling: value.higher },
      { key: `best-${k}`, name: `best ${value.name}`, of: (image) => image.best[k], falling: value.higher },
      { key: `initial-${k}`, name: `initial ${value.name}`, of: (image) => image.initial[k], falling: value.higher },
    ]),
    { key: "at", name: "best iteration", of: (image) => image.at, falling: false },
  ];
  const state = { query: "", label: "", order: orders[0], falling: false, table: !data.images.some((image) => image.before || image.after), shown: page };

  function selected() {
    const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
    const [label, value] = state.label === "" ? [] : JSON.parse(state.label);
    const found = data.images.filter((image, i) => words.every((word) => haystacks[i].includes(word)) && (label === undefined || image.labels?.[label] === value));
    const sign = state.falling ? -1 : 1;
    const keys = new Map(found.map((image) => [image, state.order.of(image)]));
    return found.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      return x === y ? 0 : x < y ? -sign : sign;
    });
  }

  const list = h("div", {});
  const status = h("p", { class: "note", role: "status" });
  const more = h("button", { type: "button", class: "more" });
  more.addEventListener("click", () => {
    const next = state.shown;
    state.shown += page;
    draw();
    list.querySelectorAll(".card, tbody tr a")[next]?.focus();
  });

  function numbersOf(image) {
    const k = /^(change|best|initial)-(\d+)$/.exec(state.order.key)?.[2];
    const chosen = [...new Set([k === undefined ? values.length - 1 : Number(k), values.length - 1])];
    return chosen.map((index) => {
      const change = changes(index)(image);
      return h("span", {}, `${values[index].name} ${format(image.best[index], Math.min(3, decimals[index]))} `,
        h("span", { class: verdict(change, values[index].higher) }, formatChange(change, Math.min(3, decimals[index]))));
    });
  }

  const lazily = (source, description) => {
    const element = picture(source, description, 120);
    if (source) element.loading = "lazy";
    return element;
  };
  const title = (image) => image.text || "(empty prompt)";

  const card = (image) => h("li", {}, h("a", { class: "card", href: link(image) },
    h("div", { class: "pair" }, lazily(image.before, "initial"), lazily(image.after, "best")),
    h("div", { class: "prompt" }, title(image)),
    h("div", { class: "numbers" }, h("span", {}, `#${image.prompt}${many ? `, seed ${image.seed}` : ""}`), numbersOf(image))));

  function table(images) {
    const sortable = (key, name, properties = {}) => {
      const order = orders.find((one) => one.key === key);
      const active = state.order === order;
      return h("th", { scope: "col", "aria-sort": active && (state.falling ? "descending" : "ascending"), ...properties },
        h("button", { type: "button", "data-sort": key, title: `Sort by ${order.name}`, onclick: () => {
          sortBy(order, active ? !state.falling : order.falling);
          list.querySelector(`[data-sort="${key}"]`).focus();
        } }, name));
    };
    const head = h("thead", {},
      h("tr", {}, h("th", { colSpan: 3 + (many ? 1 : 0) + labels.length }), values.map((value) => h("th", { colSpan: 3, class: "span", scope: "colgroup" }, value.name)), h("th", {})),
      h("tr", {}, sortable("number", "#"), many && h("th", {}, "seed"), h("th", { class: "text" }, h("span", { class: "hidden" }, "pictures")), sortable("text", "prompt", { class: "text" }),
        labels.map((label) => h("th", { class: "text", scope: "col" }, label)),
        values.map((_, k) => [sortable(`initial-${k}`, "initial"), sortable(`best-${k}`, "best"), sortable(`change-${k}`, "change")]),
        sortable("at", "best at")));
    const row = (image) => h("tr", {},
      h("td", {}, String(image.prompt)), many && h("td", {}, String(image.seed)),
      h("td", { class: "text" }, h("span", { class: "thumbs" }, image.before && lazily(image.before, "initial"), image.after && lazily(image.after, "best"))),
      h("td", { class: "text wrap" }, h("a", { href: link(image) }, title(image))),
      labels.map((label) => h("td", { class: "text" }, image.labels?.[label] ?? "")),
      values.map((value, k) => [h("td", {}, format(image.initial[k], decimals[k])), h("td", {}, format(image.best[k], decimals[k])),
        h("td", { class: verdict(changes(k)(image), value.higher) }, formatChange(changes(k)(image), decimals[k]))]),
      h("td", {}, String(image.at)));
    return h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Table of images" }, h("table", {}, head, h("tbody", {}, images.map(row))));
  }

  let found = [];
  function draw() {
    found = selected();
    const images = found.slice(0, state.shown);
    list.replaceChildren(images.length === 0 ? h("p", { class: "empty" }, "No prompt has all of these words.")
      : state.table ? table(images) : h("ul", { class: "cards" }, images.map(card)));
    const hidden = found.length - images.length;
    more.hidden = hidden === 0;
    more.textContent = `Show ${integers.format(Math.min(page, hidden))} more`;
    status.textContent = (found.length === data.images.length ? counted(found.length, "image") : `${integers.format(found.length)} of ${counted(data.images.length, "image")}`)
      + (hidden > 0 ? `, the first ${integers.format(images.length)} shown` : "")
      + (data.count > data.images.length ? `; the run has ${integers.format(data.count)}, of which the first ${integers.format(data.images.length)} are listed here` : "");
    sorting.value = state.order.key;
    direction.textContent = state.falling ? "▼ falling" : "▲ rising";
    direction.setAttribute("aria-label", `Order: ${state.falling ? "falling" : "rising"}`);
  }

  function sortBy(order, falling) {
    Object.assign(state, { order, falling, shown: page });
    draw();
  }

  const search = h("input", { type: "search", placeholder: "Search prompts", "aria-label": "Search prompts", oninput: () => {
    Object.assign(state, { query: search.value, shown: page });
    draw();
  } });
  const sorting = h("select", { "aria-label": "Sort by", onchange: () => {
    const order = orders.find((one) => one.key === sorting.value);
    sortBy(order, order.falling);
  } }, orders.map((order) => h("option", { value: order.key }, order.name)));
  const direction = h("button", { type: "button", onclick: () => sortBy(state.order, !state.falling) });
  const filter = labels.length > 0 && h("select", { "aria-label": "Filter by label", onchange: () => {
    Object.assign(state, { label: filter.value, shown: page });
    draw();
  } }, h("option", { value: "" }, `every ${labels.join(", ")}`), labels.map((label) => h("optgroup", { label },
    data.labels[label].map(({ value, count }) => h("option", { value: JSON.stringify([label, value]) }, `${value} (${integers.format(count)})`)))));
  const views = ["Pictures", "Table"].map((name, i) => h("button", { type: "button", "aria-pressed": String(state.table === (i === 1)), onclick: () => {
    state.table = i === 1;
    views.forEach((button, k) => button.setAttribute("aria-pressed", String(k === i)));
    draw();
  } }, name));

  draw();
  return {
    element: h("div", {}, h("div", { class: "tools", role: "search" }, search, filter, sorting, direction, h("div", { class: "group", role: "group", "aria-label": "View" }, views)), status, list, more),
    /** The images before and after one, in the order that is shown. */
    neighbours(image) {
      const at = found.indexOf(image);
      return at < 0 ? [] : [found[at - 1], found[at + 1]];
    },
  };
}
