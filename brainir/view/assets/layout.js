"use strict";
// Positions for the boxes of one function: layers from top to bottom, groups as boxes in boxes.

const GAP_X = 18, GAP_Y = 34, PAD = 14, HEADER = 24, BOX_HEIGHT = 36;

/** What a function looks like with its groups: a tree of groups whose leaves are indices of boxes. */
class FoldTree {
  constructor(fn, mode) {
    this.fn = fn;
    this.root = { id: "", name: "", parent: null, children: [], open: true, first: 0, boxes: 0 };
    this.groups = new Map([["", this.root]]);
    this.homes = fn.boxes.map((box, index) => {
      const home = this.group(groupsOf(box, mode));
      for (let each = home; each; each = each.parent) each.boxes += 1;
      home.children.push(index);
      return home;
    });
    this.placeInputs();
  }

  group(path) {
    let group = this.root, id = "";
    for (const name of path) {
      id += "\u0000" + name;
      if (!this.groups.has(id)) {
        const made = { id, name, parent: group, children: [], open: false, boxes: 0 };
        group.children.push(made);
        this.groups.set(id, made);
      }
      group = this.groups.get(id);
    }
    return group;
  }

  /** Move constants and parameters into the group that alone uses them: outside they are only in the way. */
  placeInputs() {
    const users = new Map();
    for (const [source, target] of this.fn.edges) {
      const kind = this.fn.boxes[source].kind;
      if (kind !== "param" && kind !== "constant") continue;
      if (!users.has(source)) users.set(source, new Set());
      users.get(source).add(this.homes[target]);
    }
    for (const [index, homes] of users) {
      const [home] = homes;
      if (homes.size !== 1 || home === this.root) continue;
      this.root.children.splice(this.root.children.indexOf(index), 1);
      home.children.unshift(index);
      for (let each = home; each !== this.root; each = each.parent) each.boxes += 1;
      this.homes[index] = home;
    }
  }

  /** What is drawn for a box: itself, or the outermost closed group around it. */
  shown(index) {
    let drawn = index;
    for (let group = this.homes[index]; group; group = group.parent) if (!group.open) drawn = group;
    return drawn;
  }

  reveal(index) {
    let changed = false;
    for (let group = this.homes[index]; group; group = group.parent) {
      changed ||= !group.open;
      group.open = true;
    }
    return changed;
  }

  openAll(open) {
    for (const group of this.groups.values()) group.open = open || group === this.root;
  }
}

function groupsOf(box, mode) {
  if (box.kind !== "node" || mode === "flat") return [];
  if (mode === "scope") return box.scope;
  return box.line ? [box.line] : [];
}

/** Lay out all that is shown. Gives items with absolute places, and edges between them. */
function layout(tree) {
  const between = edgesByGroup(tree);
  const items = [];
  arrange(tree.root, tree, between);
  place(tree.root, 0, 0, tree, items);
  const edges = [], seen = new Set();
  for (const [source, target] of tree.fn.edges) {
    const from = tree.shown(source), to = tree.shown(target);
    if (from === to) continue;
    const key = nameOf(from) + "\u0001" + nameOf(to);
    if (!seen.has(key)) seen.add(key), edges.push({ from, to });
  }
  return { items, edges, width: tree.root.width, height: tree.root.height };
}

function nameOf(item) {
  return typeof item === "number" ? String(item) : item.id;
}

/** For each open group, the edges between its children that edges between boxes amount to. */
function edgesByGroup(tree) {
  const found = new Map();
  for (const [source, target] of tree.fn.edges) {
    const above = new Map();
    let child = source;
    for (let group = tree.homes[source]; group; child = group, group = group.parent) above.set(group, child);
    child = target;
    for (let group = tree.homes[target]; group; child = group, group = group.parent) {
      if (!above.has(group)) continue;
      const from = above.get(group);
      if (from !== child) {
        if (!found.has(group)) found.set(group, new Map());
        const next = found.get(group);
        if (!next.has(from)) next.set(from, new Set());
        next.get(from).add(child);
      }
      break;
    }
  }
  return found;
}

function sizeOf(item, tree) {
  if (typeof item !== "number") return [Math.max(item.width, 9 * 2 + item.name.length * 6.8 + 40), item.height];
  const box = tree.fn.boxes[item];
  const stripe = box.group === undefined ? 0 : 14;
  return [Math.max(74, 20 + stripe + Math.max(Math.min(box.title.length, 34) * 7.2, Math.min(box.detail.length, 30) * 5.8)), BOX_HEIGHT];
}

/** Give the children of a group places inside it, and the group its size. */
function arrange(group, tree, between) {
  if (!group.open) {
    group.width = Math.max(130, 60 + group.name.length * 7);
    group.height = BOX_HEIGHT + 8;
    return;
  }
  for (const child of group.children) if (typeof child !== "number") arrange(child, tree, between);
  const items = group.children.map((item) => ({ item, next: [], before: [], rank: 0, first: firstIndex(item) }));
  items.sort((a, b) => a.first - b.first);
  const of = new Map(items.map((each) => [each.item, each]));
  items.forEach((each, order) => {
    [each.w, each.h] = sizeOf(each.item, tree);
    each.order = order;
  });
  for (const [from, targets] of between.get(group) ?? []) {
    for (const to of targets) {
      const source = of.get(from), target = of.get(to);
      // Groups can lead to each other; the edge that goes back does not count.
      if (source.order < target.order) source.next.push(target), target.before.push(source);
    }
  }
  for (const each of items) for (const to of each.next) to.rank = Math.max(to.rank, each.rank + 1);
  for (const each of [...items].reverse()) {
    // As far down as the first user allows, or all that needs inputs only would stand in one row.
    if (each.next.length) each.rank = Math.min(...each.next.map((to) => to.rank)) - 1;
  }
  const layers = [];
  for (const each of items) (layers[each.rank] ??= []).push(each);
  const filled = layers.filter(Boolean);
  order(filled);
  spread(filled);
  straighten(filled);
  let y = group.parent ? HEADER + PAD / 2 : 0, left = Infinity, right = -Infinity;
  for (const layer of filled) {
    const height = Math.max(...layer.map((each) => each.h));
    for (const each of layer) {
      each.y = y + (height - each.h) / 2;
      left = Math.min(left, each.x - each.w / 2);
      right = Math.max(right, each.x + each.w / 2);
    }
    y += height + GAP_Y;
  }
  if (!items.length) (left = 0), (right = 100), (y = GAP_Y + 20);
  const header = group.parent ? 60 + group.name.length * 7 : 0;
  group.width = Math.max(right - left + 2 * PAD, header);
  group.height = y - GAP_Y + (group.parent ? PAD : 0);
  const shift = (group.width - (right - left)) / 2 - left;
  group.places = items.map((each) => [each.item, each.x - each.w / 2 + shift, each.y, each.w, each.h]);
}

function firstIndex(item) {
  if (typeof item === "number") return item;
  item.first = Math.min(...item.children.map(firstIndex));
  return item.first;
}

/** Order each layer by where its neighbours are. */
function order(layers) {
  const index = () => layers.forEach((layer) => layer.forEach((each, at) => (each.at = at / layer.length)));
  index();
  for (let sweep = 0; sweep < 4; sweep++) {
    const down = sweep % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      for (const each of layer) {
        const around = down ? each.before : each.next;
        each.wish = around.length ? around.reduce((sum, other) => sum + other.at, 0) / around.length : each.at;
      }
      layer.sort((a, b) => a.wish - b.wish || a.order - b.order);
      layer.forEach((each, at) => (each.at = at / layer.length));
    }
  }
}

/** Move boxes under and above their neighbours as far as the layer has room. */
function spread(layers) {
  for (const layer of layers) {
    let x = 0;
    for (const each of layer) (each.x = x + each.w / 2), (x += each.w + GAP_X);
    for (const each of layer) each.x -= (x - GAP_X) / 2;
  }
  for (let sweep = 0; sweep < 6; sweep++) {
    const down = sweep % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      const wish = layer.map((each) => {
        const around = down ? each.before : each.next;
        return around.length ? around.reduce((sum, other) => sum + other.x, 0) / around.length : each.x;
      });
      const room = (a, b) => (layer[a].w + layer[b].w) / 2 + GAP_X;
      const fromLeft = [...wish], fromRight = [...wish];
      for (let i = 1; i < layer.length; i++) fromLeft[i] = Math.max(wish[i], fromLeft[i - 1] + room(i - 1, i));
      for (let i = layer.length - 2; i >= 0; i--) fromRight[i] = Math.min(wish[i], fromRight[i + 1] - room(i, i + 1));
      // Both keep the distances, so their mean does too.
      layer.forEach((each, i) => (each.x = (fromLeft[i] + fromRight[i]) / 2));
    }
  }
}

/** Take out the drift of a long chain to one side: layers follow the mean of those around them. */
function straighten(layers) {
  const middle = layers.map((layer) => layer.reduce((sum, each) => sum + each.x, 0) / layer.length);
  const sums = [0];
  for (const each of middle) sums.push(sums[sums.length - 1] + each);
  layers.forEach((layer, at) => {
    const first = Math.max(0, at - 12), last = Math.min(layers.length, at + 13);
    const drift = (sums[last] - sums[first]) / (last - first);
    for (const each of layer) each.x -= drift;
  });
}

function place(group, x, y, tree, items) {
  for (const [item, dx, dy, width, height] of group.places) {
    const at = { item, x: x + dx, y: y + dy, w: width, h: height };
    items.push(at);
    if (typeof item !== "number" && item.open) place(item, at.x, at.y, tree, items);
  }
}
