"use strict";
// The page: puts programs, pictures, panel and search together.

function readProgram(stored) {
  const functions = new Map();
  let nodes = 0;
  for (const fn of stored.functions) {
    fn.index = new Map(fn.boxes.map((box, index) => [box.key, index]));
    fn.boxes.forEach((box) => box.results.forEach((name) => fn.index.set(name, fn.index.get(box.key))));
    for (const box of fn.boxes) {
      box.names = box.results.join(", ");
      nodes += box.kind === "node";
    }
    functions.set(fn.name, fn);
  }
  return { ...stored, functions, nodes };
}

class Page {
  constructor(stored) {
    this.sides = stored.sides.map(readProgram);
    this.changes = stored.changes;
    this.panel = new Panel(document.getElementById("panel"), {
      go: (side, fn, key) => this.go(side, fn, key),
      open: (side, fn) => this.open(side, fn),
      why: (side, path) => this.why(side, path),
    });
    const hosts = document.getElementById("scenes");
    hosts.classList.toggle("two", this.sides.length > 1);
    this.scenes = this.sides.map((side) => {
      const pane = html("div", { class: "pane" });
      if (this.sides.length > 1) pane.append(html("div", { class: "pane-title" }, side.label));
      hosts.append(pane);
      return new Scene(pane, side, {
        onSelect: (scene, index) => this.select(scene, index),
        onOpen: (scene, name) => this.open(this.scenes.indexOf(scene), name),
      });
    });
    this.controls();
    this.mode.value = stored.mode;
    this.sides.forEach((side, number) => this.open(number, side.entry));
    this.panel.overview(this.sides, this.changes);
  }

  controls() {
    const byId = (id) => document.getElementById(id);
    this.fn = byId("function");
    this.mode = byId("mode");
    this.search = byId("search");
    this.found = byId("found");
    this.legend = byId("legend");
    const names = [...new Set(this.sides.flatMap((side) => [...side.functions.keys()]))];
    this.fn.append(...names.map((name) => html("option", { value: name }, name)));
    this.fn.addEventListener("change", () => this.sides.forEach((side, number) => side.functions.has(this.fn.value) && this.open(number, this.fn.value)));
    this.mode.addEventListener("change", () => this.sides.forEach((side, number) => this.open(number, this.scenes[number].fn.name)));
    byId("fold").addEventListener("click", () => this.scenes.forEach((scene) => scene.foldAll(false)));
    byId("unfold").addEventListener("click", () => this.scenes.forEach((scene) => scene.foldAll(true)));
    byId("fit").addEventListener("click", () => this.scenes.forEach((scene) => scene.fit()));
    byId("home").addEventListener("click", () => this.clear());
    this.search.addEventListener("input", () => this.find());
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.found.querySelector("button")?.click();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.search.blur(), this.clear();
      else if (event.target === this.search || event.ctrlKey || event.metaKey) return;
      else if (event.key === "/") event.preventDefault(), this.search.focus();
      else if (event.key === "f") this.scenes.forEach((scene) => scene.fit());
    });
  }

  clear() {
    this.search.value = "";
    this.found.replaceChildren();
    this.scenes.forEach((scene) => scene.select(null));
    this.panel.overview(this.sides, this.changes);
  }

  open(number, name) {
    const scene = this.scenes[number];
    scene.selected = null;
    scene.path = new Set();
    scene.show(name, this.mode.value);
    scene.fit();
    this.fn.value = name;
  }

  select(scene, index) {
    if (index === null) return this.clear();
    scene.select(index);
    this.panel.box(this.scenes.indexOf(scene), scene, index);
  }

  /** Show a box of a function, wherever it is folded away. */
  go(number, name, key) {
    const scene = this.scenes[number], wanted = name ?? scene.side.entry;
    if (scene.fn.name !== wanted) this.open(number, wanted);
    const index = scene.fn.index.get(key);
    if (index === undefined) return;
    this.select(scene, index);
    scene.center(index);
  }

  why(number, path) {
    const scene = this.scenes[number], side = scene.side, why = side.whys[path];
    if (scene.fn.name !== side.entry) this.open(number, side.entry);
    const boxes = (why?.values ?? []).map((value) => scene.fn.index.get(value)).filter((index) => index !== undefined);
    const ends = scene.fn.boxes.flatMap((box, index) => (box.kind === "output" && why?.outputs.includes(box.title) ? [index] : []));
    const way = new Set([...boxes, ...ends]);
    boxes.forEach((index) => scene.tree.reveal(index));
    scene.relayout();
    scene.select(null, way);
    scene.frameItems([...way]);
    this.panel.why(number, side, path);
  }

  find() {
    const words = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return this.found.replaceChildren();
    const hits = [];
    for (const [number, side] of this.sides.entries()) {
      for (const fn of side.functions.values()) {
        for (const box of fn.boxes) {
          const text = `${box.title} ${box.names} ${box.detail} ${box.source} ${box.scope.join("/")} ${box.path ?? ""} ${fn.name}`.toLowerCase();
          if (words.every((word) => text.includes(word))) hits.push({ number, fn, box });
        }
      }
    }
    const listed = hits.slice(0, 60).map(({ number, fn, box }) => html("li", {}, link(`${box.title} ${box.names}`, () => this.go(number, fn.name, box.key)), html("small", {}, ` ${box.detail}${fn.name === this.sides[number].entry ? "" : ` in ${fn.name}`}${this.sides.length > 1 ? ` (${this.sides[number].label})` : ""}`)));
    this.found.replaceChildren(html("li", { class: "count" }, `${hits.length} found`), ...listed);
  }
}

const page = new Page(JSON.parse(document.getElementById("program").textContent));
document.body.dataset.ready = "true";
