"use strict";
// One picture of one function: draws what is in sight, and tells what was clicked.

const FAR = 900, DOUBLE_CLICK = 450;
const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes ?? {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

class Scene {
  /**
   * @param {HTMLElement} host where the picture goes
   * @param {object} side the program
   * @param {{onSelect: function, onOpen: function}} on what to call for clicks
   */
  constructor(host, side, on) {
    this.side = side;
    this.on = on;
    this.mode = "flat";
    this.trees = new Map();
    this.selected = null;
    this.path = new Set();
    this.lineLayer = svg("g", { class: "edges" });
    this.frameLayer = svg("g", { class: "frames" });
    this.litLayer = svg("g", { class: "lit" });
    this.boxLayer = svg("g", { class: "boxes" });
    this.world = svg("g", {}, this.frameLayer, this.lineLayer, this.litLayer, this.boxLayer);
    this.svg = svg("svg", { class: "scene", role: "img", "aria-label": `graph of ${side.entry}` }, this.world);
    host.append(this.svg);
    this.view = { x: 0, y: 0, k: 1 };
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  show(name, mode) {
    this.fn = this.side.functions.get(name);
    this.mode = mode;
    const key = name + "\u0000" + mode;
    if (!this.trees.has(key)) this.trees.set(key, new FoldTree(this.fn, mode));
    this.tree = this.trees.get(key);
    this.relayout();
  }

  relayout() {
    this.laid = layout(this.tree);
    this.at = new Map(this.laid.items.map((place) => [place.item, place]));
    this.draw(true);
  }

  // The view

  fit() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (!width) return;
    const k = Math.min(1, (width - 40) / this.laid.width, (height - 90) / this.laid.height);
    // A very long graph is shown from its top at a size that can be read.
    const readable = Math.max(k, Math.min(1, 0.45, (width - 40) / this.laid.width));
    this.view = { k: readable, x: (width - this.laid.width * readable) / 2, y: k < readable ? 20 : (height - 50 - this.laid.height * readable) / 2 };
    this.draw(true);
  }

  center(item) {
    const place = this.at.get(item), { width, height } = this.svg.getBoundingClientRect();
    if (!place) return;
    const k = Math.max(this.view.k, 0.8);
    this.view = { k, x: width / 2 - (place.x + place.w / 2) * k, y: height / 2 - (place.y + place.h / 2) * k };
    this.draw(true);
  }

  /** Show several boxes at once, as large as they can be. */
  frameItems(indices) {
    const places = indices.map((index) => this.at.get(this.tree.shown(index))).filter(Boolean);
    if (!places.length) return;
    const { width, height } = this.svg.getBoundingClientRect();
    const left = Math.min(...places.map((each) => each.x)), right = Math.max(...places.map((each) => each.x + each.w));
    const top = Math.min(...places.map((each) => each.y)), bottom = Math.max(...places.map((each) => each.y + each.h));
    const k = Math.min(1, Math.max(0.35, Math.min((width - 80) / (right - left), (height - 80) / (bottom - top))));
    const tall = (bottom - top) * k > height - 80;
    this.view = { k, x: width / 2 - ((left + right) / 2) * k, y: tall ? 40 - top * k : height / 2 - ((top + bottom) / 2) * k };
    this.draw(true);
  }

  zoom(factor, x, y) {
    const k = Math.min(3, Math.max(0.02, this.view.k * factor)), by = k / this.view.k;
    this.view = { k, x: x - (x - this.view.x) * by, y: y - (y - this.view.y) * by };
    this.draw();
  }

  listen() {
    let from = null, moved = false;
    this.svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      const area = this.svg.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY * 0.0015), event.clientX - area.left, event.clientY - area.top);
    }, { passive: false });
    this.svg.addEventListener("pointerdown", (event) => {
      from = { x: event.clientX - this.view.x, y: event.clientY - this.view.y, px: event.clientX, py: event.clientY };
      moved = false;
    });
    window.addEventListener("pointermove", (event) => {
      if (!from) return;
      if (Math.hypot(event.clientX - from.px, event.clientY - from.py) < 4 && !moved) return;
      moved = true;
      this.svg.classList.add("moving");
      Object.assign(this.view, { x: event.clientX - from.x, y: event.clientY - from.y });
      this.draw();
    });
    window.addEventListener("pointerup", () => {
      from = null;
      this.svg.classList.remove("moving");
    });
    this.svg.addEventListener("click", (event) => {
      if (moved) return;
      const target = event.target.closest("[data-item]");
      if (!target) return this.on.onSelect(this, null);
      const group = this.tree.groups.get(target.dataset.group);
      if (group) return this.toggle(group);
      const index = Number(target.dataset.item), { calls } = this.fn.boxes[index];
      // A click draws the boxes anew, and browsers make no double click of two boxes.
      const isSecond = this.last?.index === index && event.timeStamp - this.last.time < DOUBLE_CLICK;
      this.last = { index, time: event.timeStamp };
      if (isSecond && calls.length) this.on.onOpen(this, calls[0]);
      else this.on.onSelect(this, index);
    });
  }

  /** Fold or unfold a group; its upper edge stays where it is on the screen. */
  toggle(group) {
    const before = this.at.get(group);
    group.open = !group.open;
    this.relayout();
    const after = this.at.get(group);
    if (before && after) {
      this.view.x += (before.x + before.w / 2 - after.x - after.w / 2) * this.view.k;
      this.view.y += (before.y - after.y) * this.view.k;
      this.draw(true);
    }
  }

  foldAll(open) {
    this.tree.openAll(open);
    this.relayout();
    this.fit();
  }

  // Selection

  select(index, path) {
    this.selected = index;
    this.path = path ?? new Set();
    if (index !== null && this.tree.reveal(index)) this.relayout();
    else this.draw(true);
  }

  // Drawing

  draw(force) {
    if (!this.laid) return;
    const { x, y, k } = this.view, { width, height } = this.svg.getBoundingClientRect();
    this.world.setAttribute("transform", `translate(${x} ${y}) scale(${k})`);
    const seen = { left: -x / k, top: -y / k, right: (width - x) / k, bottom: (height - y) / k };
    const drawn = this.drawn, level = k < 0.3 ? 0 : 1;
    const inside = drawn && seen.left >= drawn.left && seen.right <= drawn.right && seen.top >= drawn.top && seen.bottom <= drawn.bottom;
    if (!force && inside && drawn.level === level) return;
    // A screen more on each side, so that moving a little draws nothing anew.
    const w = seen.right - seen.left, h = seen.bottom - seen.top;
    this.drawn = { left: seen.left - w, right: seen.right + w, top: seen.top - h, bottom: seen.bottom + h, level };
    this.drawBoxes(level);
    this.drawEdges();
  }

  near(place) {
    const { left, right, top, bottom } = this.drawn;
    return place.x < right && place.x + place.w > left && place.y < bottom && place.y + place.h > top;
  }

  drawBoxes(level) {
    const frames = [], boxes = [];
    for (const place of this.laid.items) {
      if (!this.near(place)) continue;
      if (typeof place.item === "number") boxes.push(this.box(place, level));
      else if (place.item.open) frames.push(this.frame(place));
      else boxes.push(this.closed(place, level));
    }
    this.frameLayer.replaceChildren(...frames);
    this.boxLayer.replaceChildren(...boxes);
  }

  rect(place, radius) {
    return svg("rect", { x: place.x, y: place.y, width: place.w, height: place.h, rx: radius });
  }

  box(place, level) {
    const box = this.fn.boxes[place.item], classes = ["box", box.kind];
    if (box.mark) classes.push(box.mark);
    if (box.role) classes.push(box.role);
    if (place.item === this.selected) classes.push("selected");
    if (this.path.has(place.item)) classes.push("onpath");
    if (box.calls.length) classes.push("calls");
    const made = svg("g", { class: classes.join(" "), "data-item": place.item, "data-key": box.key }, this.rect(place, box.kind === "node" ? 5 : 17));
    if (box.group !== undefined) made.append(svg("rect", { class: "stripe", x: place.x + 7, y: place.y + 9, width: 5, height: place.h - 18, rx: 2, style: `fill:${colourOfGroup(box.group)}` }));
    if (level) {
      const middle = place.x + place.w / 2 + (box.group === undefined ? 0 : 5);
      made.append(
        svg("text", { x: middle, y: place.y + 15, class: "title" }, shortTitle(box.title)),
        svg("text", { x: middle, y: place.y + 28, class: "detail" }, shortened(box.detail, 30)),
      );
    }
    return made;
  }

  closed(place, level) {
    const group = place.item, inside = this.contents(group);
    const made = svg("g", { class: `group closed ${inside.classes}`, "data-item": group.id, "data-group": group.id }, this.rect(place, 8));
    if (level) {
      const notes = [`${group.boxes} boxes`, ...inside.notes].join(" · ");
      made.append(
        svg("text", { x: place.x + place.w / 2, y: place.y + 18, class: "title" }, `▸ ${group.name}`),
        svg("text", { x: place.x + place.w / 2, y: place.y + 33, class: "detail" }, notes),
      );
    }
    return made;
  }

  contents(group) {
    const count = {}, marks = new Set();
    let onPath = false;
    const walk = (item) => {
      if (typeof item !== "number") return item.children.forEach(walk);
      const box = this.fn.boxes[item];
      count[box.kind] = (count[box.kind] ?? 0) + 1;
      if (box.mark) marks.add(box.mark);
      onPath ||= this.path.has(item);
    };
    walk(group);
    const classes = [...marks].map((mark) => `has-${mark}`);
    if (onPath) classes.push("onpath");
    if (count.param) classes.push("has-param");
    return { classes: classes.join(" "), notes: count.param ? [`${count.param} parameter${count.param > 1 ? "s" : ""}`] : [] };
  }

  frame(place) {
    const group = place.item;
    const header = svg("g", { class: "header", "data-item": group.id, "data-group": group.id },
      svg("rect", { x: place.x, y: place.y, width: place.w, height: HEADER, rx: 8 }),
      svg("text", { x: place.x + 10, y: place.y + 16, class: "title" }, `▾ ${group.name}`));
    return svg("g", { class: "group open" }, this.rect(place, 8), header);
  }

  drawEdges() {
    const plain = [], far = [], lit = [];
    for (const edge of this.laid.edges) {
      const from = this.at.get(edge.from), to = this.at.get(edge.to);
      const area = { x: Math.min(from.x, to.x), y: Math.min(from.y, to.y) };
      area.w = Math.max(from.x + from.w, to.x + to.w) - area.x;
      area.h = Math.max(from.y + from.h, to.y + to.h) - area.y;
      if (!this.near(area)) continue;
      const line = curve(from, to);
      const touched = edge.from === this.selected || edge.to === this.selected || (this.path.size && this.isOnPath(edge.from) && this.isOnPath(edge.to));
      (touched ? lit : area.h > FAR ? far : plain).push(line);
    }
    // Three elements, however many edges there are.
    this.lineLayer.replaceChildren(svg("path", { class: "far", d: far.join("") }), svg("path", { d: plain.join("") }));
    this.litLayer.replaceChildren(svg("path", { d: lit.join("") }));
  }

  isOnPath(item) {
    return typeof item === "number" ? this.path.has(item) : this.contents(item).classes.includes("onpath");
  }
}

function curve(from, to) {
  const x1 = from.x + from.w / 2, y1 = from.y + from.h, x2 = to.x + to.w / 2, y2 = to.y;
  const bend = Math.max(14, Math.min(90, Math.abs(y2 - y1) / 2));
  const tip = `M${x2 - 3.5} ${y2 - 6}L${x2} ${y2}L${x2 + 3.5} ${y2 - 6}`;
  return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}${tip}`;
}

/** The end of a long path says most. */
function shortTitle(title) {
  return title.length <= 34 ? title : "…" + title.slice(-33);
}

function shortened(text, length) {
  return text.length <= length ? text : text.slice(0, length - 1) + "…";
}

const GROUP_COLOURS = ["#2563eb", "#db2777", "#059669", "#ea580c", "#7c3aed", "#0891b2", "#65a30d", "#be123c"];
function colourOfGroup(number) {
  return GROUP_COLOURS[number % GROUP_COLOURS.length];
}
