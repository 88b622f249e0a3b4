"use strict";
// The text beside the picture: the program at a glance, or what was selected.

function html(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

function link(text, action, title) {
  return html("button", { class: "link", type: "button", onclick: action, ...(title ? { title } : {}) }, text);
}

function section(title, ...content) {
  return html("section", {}, html("h3", {}, title), ...content);
}

function rows(pairs) {
  return html("table", {}, pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined).map(([name, value]) => html("tr", {}, html("th", {}, name), html("td", {}, value))));
}

class Panel {
  /**
   * @param {HTMLElement} host
   * @param {{go: function, open: function, why: function}} on
   */
  constructor(host, on) {
    this.host = host;
    this.on = on;
  }

  set(...content) {
    this.host.replaceChildren(...content.flat().filter(Boolean));
    this.host.scrollTop = 0;
  }

  overview(sides, changes) {
    const parts = [];
    if (changes) parts.push(this.changes(sides, changes));
    for (const [number, side] of sides.entries()) {
      const scene = number;
      parts.push(
        html("h2", {}, sides.length > 1 ? `${side.label}: ${side.entry}` : side.entry),
        rows([["kind", side.kind], ["functions", String(side.functions.size)], ["nodes", String(side.nodes)], ["fingerprint", side.fingerprint.slice(0, 16)]]),
      );
      if (sides.length > 1) continue;
      parts.push(
        side.states.length ? section("States", html("ul", { class: "plain" }, side.states.map((state) => this.state(scene, state)))) : null,
        side.groups.length ? section("Hidden groups", side.groups.map((group) => this.group(scene, group))) : null,
        side.relations.length ? section("Weights that reach hidden states", html("ul", { class: "plain" }, side.relations.map((each) => this.relation(scene, each)))) : null,
        side.diagnostics.length ? section("Diagnostics", side.diagnostics.map((each) => this.diagnostic(scene, each))) : null,
      );
    }
    this.set(parts);
  }

  state(scene, state) {
    return html("li", {}, html("span", { class: `chip ${state.role}` }, state.role), " ", link(state.path, () => this.on.go(scene, null, state.key)), html("small", {}, ` ${state.type}${state.unit ? ` ${state.unit}` : ""}`));
  }

  group(scene, group) {
    const swatch = html("span", { class: "swatch", style: `background:${colourOfGroup(group.index)}` });
    const members = group.members.map((member) => html("li", {}, link(member.path, () => this.on.go(scene, null, member.old)), html("small", {}, ` ${member.old} → ${member.new}`)));
    return html("div", { class: "hidden-group" }, swatch, `group ${group.index}`, html("small", {}, ` at ${group.shape}`), html("ul", { class: "plain" }, members), group.blocked.length ? html("details", {}, html("summary", {}, `not joined at ${group.blocked.length} place${group.blocked.length > 1 ? "s" : ""}`), html("pre", {}, group.blocked.join("\n"))) : null);
  }

  relation(scene, each) {
    return html("li", {}, html("span", { class: "chip param" }, each.kind), " ", link(each.path, () => this.on.why(scene, each.path)), html("small", {}, ` → ${each.hidden.join(", ") || "nothing directly"}`));
  }

  diagnostic(scene, each) {
    return html("div", { class: "diagnostic" }, html("b", {}, each.code), " ", each.path, html("p", {}, each.message), each.remedy ? html("p", {}, html("small", {}, each.remedy)) : null, each.key ? link("show", () => this.on.go(scene, null, each.key)) : null);
  }

  changes(sides, changes) {
    if (!changes.length) return section("Differences", html("p", {}, "none: the programs are equal but for names and order"));
    const listed = changes.map((each) => {
      const side = each.new ? 1 : 0, key = each.new || each.old;
      const name = key && each.function ? link(each.text, () => this.on.go(side, side ? each.newFunction : each.function, key)) : each.text;
      return html("li", { class: each.mark }, name);
    });
    return section(`${changes.length} difference${changes.length > 1 ? "s" : ""}`, html("ul", { class: "plain changes" }, listed));
  }

  box(number, scene, index) {
    const { fn, side } = scene, box = fn.boxes[index];
    const uses = fn.edges.filter(([source]) => source === index).map(([, target]) => target);
    const sources = fn.edges.filter(([, target]) => target === index).map(([source]) => source);
    const jump = (each) => html("li", {}, link(`${fn.boxes[each].title}`, () => this.on.go(number, fn.name, fn.boxes[each].key)), html("small", {}, ` ${fn.boxes[each].names || fn.boxes[each].detail}`));
    const parameter = box.kind === "param" && side.whys[box.path];
    this.set(
      html("h2", {}, box.title, " ", html("span", { class: `chip ${box.kind}` }, box.kind)),
      rows([["result", box.names], ["type", box.detail], ["unit", box.unit], ["state", box.path], ["scope", box.scope.join("/")], ["line", box.source], ["hidden group", box.group === undefined ? "" : String(box.group)]]),
      box.attributes.length ? section("Attributes", rows(box.attributes)) : null,
      box.operands ? section("Operands", html("code", {}, box.operands)) : null,
      box.calls.length ? section("Runs", html("ul", { class: "plain" }, box.calls.map((name) => html("li", {}, link(name, () => this.on.open(number, name)))))) : null,
      sources.length ? section("Comes from", html("ul", { class: "plain" }, sources.map(jump))) : null,
      uses.length ? section(`Used by ${uses.length}`, html("ul", { class: "plain" }, uses.slice(0, 60).map(jump))) : null,
      parameter ? section("Why", link("show the way to the hidden states", () => this.on.why(number, box.path)), html("pre", { class: "why" }, parameter.text)) : null,
      box.group !== undefined && side.groups[box.group] ? section("Hidden group", this.group(number, side.groups[box.group])) : null,
    );
  }

  why(number, side, path) {
    const why = side.whys[path], relations = side.relations.filter((each) => each.path === path);
    this.set(
      html("h2", {}, path, " ", html("span", { class: "chip param" }, "param")),
      why && why.text ? section("Why", html("pre", { class: "why" }, why.text)) : null,
      relations.map((each) => section(`Relation (${each.kind})`, html("pre", {}, each.text))),
    );
  }
}
