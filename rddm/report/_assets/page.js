"use strict";
// The comparison page: `window.rddmReport` as images under a list. Zooming is Panzoom's, the slider img-comparison-slider's.
(() => {
  const { panes, figures, rows } = window.rddmReport;
  const $ = (id) => document.getElementById(id);
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const show = (value) =>
    value === undefined || Number.isNaN(value) ? "–"
      : !Number.isFinite(value) ? "∞"
        : Math.abs(value) >= 1 ? value.toFixed(2) : Math.abs(value) >= 0.1 ? value.toFixed(3) : value.toPrecision(3);

  let at = rows[0]; // the row on the stage
  let listed = rows; // filtered and sorted
  let sort = { by: null, up: true }; // by: a pane's index, null for the name
  let difference = false, slider = false;
  let view = { scale: 1, x: 0, y: 0 }; // scale: of the fitted image; x, y: shift in pixels of the image

  // ---- stage

  // An image that can be zoomed. All have the same view, applied whenever one of them changes.
  const zoomable = (box) => {
    const image = make("img"), none = make("div", "none");
    image.alt = "";
    image.decoding = "async";
    image.draggable = false;
    box.append(image, none);
    stage.append(box); // Panzoom wants attached elements
    const panzoom = Panzoom(image, { panOnlyWhenZoomed: true, cursor: "default", minScale: 0.01, maxScale: 1000 });
    image.addEventListener("panzoomchange", ({ detail }) => {
      if (box.clientWidth) adopt({ scale: detail.scale, x: detail.x / unit(), y: detail.y / unit() }, panzoom);
    });
    box.addEventListener("wheel", (event) => panzoom.zoomWithWheel(event, { step: 0.5 }), { passive: false });
    return { box, image, none, panzoom };
  };

  const stage = $("stage");
  const cells = panes.map((pane) => {
    const frame = make("div", "pane"), caption = make("div", "caption");
    const cell = { ...zoomable(make("div", "view")), pane, frame, caption };
    frame.append(caption, cell.box);
    return cell;
  });
  const compare = make("div", "compare"), comparison = make("img-comparison-slider");
  comparison.setAttribute("handle", "true");
  comparison.setAttribute("keyboard", "disabled");
  const sides = ["first", "second"].map((slot) => {
    const side = zoomable(make("div", "view"));
    side.box.slot = slot;
    return side;
  });
  const handle = make("div", "handle", "↔");
  handle.slot = "handle";
  comparison.append(...sides.map((side) => side.box), handle);
  compare.append(comparison);
  compare.hidden = true;
  stage.replaceChildren(...cells.map((cell) => cell.frame), compare);

  const size = () => (at?.cells[panes.length - 1] ?? at?.cells.find((cell) => cell))?.size ?? [1, 1];
  const visible = () => (slider ? sides : cells);
  const unit = () => { // CSS pixels for one of the image, when it is fitted into a pane
    const box = visible()[0].box, [width, height] = size();
    return Math.min(box.clientWidth / width, box.clientHeight / height) || 1;
  };
  const limits = () => ({
    minScale: Math.min(1, 1 / unit() / devicePixelRatio), // the whole image, or its pixels one to one
    maxScale: Math.max(8, 32 / unit()),
  });

  const adopt = (next, source) => {
    view = next.scale <= 1 ? { scale: next.scale, x: 0, y: 0 } : next;
    const k = unit(), quiet = { silent: true, force: true, animate: false };
    for (const { panzoom } of visible()) {
      if (panzoom === source && view === next) continue;
      panzoom.zoom(view.scale, quiet);
      panzoom.pan(view.x * k, view.y * k, quiet);
    }
    for (const { panzoom } of visible()) panzoom.setOptions({
      touchAction: view.scale > 1 ? "none" : "pan-y", // a fitted image lets the page scroll
      cursor: view.scale > 1 ? "move" : "default",
    });
    $("zoom").textContent = `${Math.round(view.scale * k * devicePixelRatio * 100)} %`;
    stage.classList.toggle("unsmoothed", view.scale * k * devicePixelRatio >= 3);
  };
  const zoom = (scale) => {
    const { minScale, maxScale } = limits();
    adopt({ ...view, scale: Math.min(Math.max(scale, minScale), maxScale) });
  };

  const arrange = () => {
    const [width, height] = size(), narrow = matchMedia("(max-width: 760px)").matches;
    let columns = 1, best = 0;
    for (let c = 1; c <= cells.length; c++) {
      const room = { x: stage.clientWidth / c, y: stage.clientHeight / Math.ceil(cells.length / c) - 20 };
      const factor = Math.min(room.x / width, room.y / height);
      if (factor > best) [columns, best] = [c, factor];
    }
    stage.style.setProperty("--columns", slider ? 1 : narrow ? Math.min(2, cells.length) : columns);
    stage.style.setProperty("--aspect", width / height);
    for (const { panzoom } of visible()) panzoom.setOptions(limits());
    adopt(view);
  };

  const fill = (target, index) => {
    const cell = at?.cells[index], role = panes[index].role, apart = difference && role !== "target";
    const source = apart ? cell?.difference : cell?.src;
    target.none.textContent = source ? "" : !cell ? "missing" : "no difference: no target of this size";
    target.image.hidden = !source;
    if (source) {
      if (target.image.getAttribute("src") !== source) target.image.src = source;
    } else target.image.removeAttribute("src");
  };

  const bests = (row, key) => { // of the methods, in the row or the means
    const better = figures.find((figure) => figure.key === key).better;
    const values = panes.map((pane, i) => (pane.role === "method" ? row[i]?.[key] : undefined));
    const known = values.filter((value) => value !== undefined && !Number.isNaN(value));
    if (known.length < 2) return values.map(() => false);
    const best = better > 0 ? Math.max(...known) : Math.min(...known);
    return values.map((value) => value === best);
  };

  const draw = () => {
    const scores = at?.cells.map((cell) => cell?.scores) ?? [];
    const best = Object.fromEntries(figures.map(({ key }) => [key, bests(scores, key)]));
    cells.forEach((cell, i) => {
      fill(cell, i);
      cell.caption.replaceChildren(make("b", "", cell.pane.name));
      for (const { key, label } of figures.slice(0, 2)) {
        if (scores[i]?.[key] === undefined) continue;
        cell.caption.append(make("span", best[key][i] ? "best" : "", `${label} ${show(scores[i][key])}`));
      }
      cell.frame.hidden = slider;
    });
    compare.hidden = !slider;
    if (slider) sides.forEach((side, i) => fill(side, Number($(i ? "right" : "left").value)));
    $("difference").setAttribute("aria-pressed", difference);
    $("slider").setAttribute("aria-pressed", slider);
    $("bar").hidden = !difference;
    $("sides").hidden = !slider;
    const place = listed.indexOf(at);
    $("name").textContent = at ? at.name : "no image";
    $("position").textContent = `${place < 0 ? "–" : place + 1} / ${listed.length}`;
    $("previous").disabled = place <= 0;
    $("next").disabled = place === listed.length - 1;
    arrange();
    for (const near of [listed[place - 1], listed[place + 1]]) { // so that the next key shows at once
      for (const cell of near?.cells ?? []) if (cell) new Image().src = (difference && cell.difference) || cell.src;
    }
  };

  // ---- list

  const items = new Map(rows.map((row) => {
    const item = make("div", "row item");
    item.onclick = () => go(row);
    return [row, item];
  }));
  const key = () => $("figure").value;
  const measured = panes.map((_, i) => i).filter((i) => panes[i].role !== "target" && figures.some((f) => f.key in panes[i].mean));

  const values = (row, item) => {
    const best = key() ? bests(row, key()) : [];
    for (const i of measured) item.append(make("span", best[i] ? "best" : "", show(row[i]?.[key()])));
  };
  const title = (text) => {
    const node = make("span", "title", text);
    node.title = text;
    return node;
  };

  const list = () => {
    const head = make("div", "row head"), names = [[null, "name"], ...measured.map((i) => [i, panes[i].name])];
    head.append(make("span"));
    for (const [by, text] of names) {
      const button = make("button", by === null ? "title" : "", text + (sort.by === by ? (sort.up ? " ↑" : " ↓") : ""));
      button.title = `sort by ${text}`;
      button.dataset.sort = by ?? "name";
      button.onclick = () => {
        sort = { by, up: sort.by === by ? !sort.up : true };
        list();
      };
      head.append(button);
    }
    if (panes.some((pane) => pane.role === "target")) {
      head.append(make("span"), title("mean"));
      values(panes.map((pane) => pane.mean), head);
    }
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    listed = rows.filter((row) => words.every((word) => {
      const bound = /^([a-z_-]+)([<>])(-?[\d.]+)$/.exec(word);
      if (!bound) return row.name.toLowerCase().includes(word);
      const name = bound[1].replace("-", "_"), limit = Number(bound[3]);
      return row.cells.some((cell, i) => panes[i].role === "method" && cell &&
        (bound[2] === "<" ? cell.scores[name] < limit : cell.scores[name] > limit));
    }));
    const order = (row) => row.cells[sort.by]?.scores[key()] ?? NaN;
    if (sort.by !== null) listed.sort((one, other) => {
      const [a, b] = [order(one), order(other)];
      return Number.isNaN(a) - Number.isNaN(b) || (a === b ? 0 : (a - b) * (sort.up ? 1 : -1)); // unknown ones last
    });
    else if (!sort.up) listed.reverse();
    $("list").replaceChildren(head, ...listed.map((row) => items.get(row)));
    if (!listed.includes(at) && listed.length) go(listed[0]);
    else draw();
  };

  const figure = () => {
    for (const [row, item] of items) {
      const thumb = make("img");
      thumb.loading = "lazy"; // set before src, or it is not lazy
      thumb.alt = "";
      if (row.thumb) thumb.src = row.thumb;
      item.replaceChildren(thumb, title(row.name));
      values(row.cells.map((cell) => cell?.scores), item);
    }
    list();
  };

  const go = (row) => {
    if (!row) return;
    items.get(at)?.removeAttribute("aria-current");
    at = row;
    items.get(at).setAttribute("aria-current", "true");
    // within the list only: on a phone the page must not jump
    const box = $("list"), item = items.get(at), top = item.offsetTop - box.offsetTop;
    const head = box.firstElementChild?.offsetHeight ?? 0;
    if (top < box.scrollTop + head) box.scrollTop = top - head;
    else if (top + item.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + item.offsetHeight - box.clientHeight;
    draw();
  };
  const step = (by) => go(listed[listed.indexOf(at) + by]);

  // ---- buttons and keys

  const toggle = (what) => {
    if (what === "d") difference = !difference;
    else slider = !slider;
    draw();
  };
  const actions = {
    previous: () => step(-1), next: () => step(1),
    in: () => zoom(view.scale * 1.25), out: () => zoom(view.scale / 1.25),
    reset: () => adopt({ scale: 1, x: 0, y: 0 }), pixels: () => zoom(1 / unit() / devicePixelRatio),
    difference: () => toggle("d"), slider: () => toggle("s"),
    about: () => $("info").showModal(),
  };
  const keys = {
    ArrowLeft: "previous", ArrowRight: "next", "+": "in", "=": "in", "-": "out", "0": "reset", "1": "pixels",
    d: "difference", s: "slider", "?": "about",
  };
  for (const id in actions) $(id).onclick = actions[id];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("info").open) return;
    if (event.target.matches("input, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (slider && event.shiftKey && /^Arrow(Left|Right)$/.test(event.key)) {
      const now = Number(comparison.value), by = event.key === "ArrowLeft" ? -5 : 5;
      comparison.value = Math.min(Math.max(now + by, 0), 100);
    } else if (event.key === "/") $("filter").focus();
    else if (keys[event.key] in actions) actions[keys[event.key]]();
    else return;
    event.preventDefault();
  });
  $("filter").oninput = list;
  $("figure").onchange = figure;
  for (const side of ["left", "right"]) {
    panes.forEach((pane, i) => $(side).add(new Option(pane.name, i)));
    $(side).onchange = draw;
  }
  $("left").value = 0;
  $("right").value = Math.min(1, panes.length - 1);
  for (const { key, label } of figures) $("figure").add(new Option(label, key));
  $("figure").hidden = !figures.length;
  $("slider").hidden = panes.length < 2;
  $("difference").hidden = !rows.some((row) => row.cells.some((cell) => cell?.difference));
  document.body.style.setProperty("--figures", measured.length);
  document.body.style.setProperty("--list", `${Math.max(260, 190 + 72 * measured.length)}px`);
  new ResizeObserver(arrange).observe(stage);
  figure();
  go(at);
})();
