/* Draws a comparison from the data block #content. Captured text is written with textContent only. */
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("content").textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const get = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const LADDER = 120;
  const NAMES = { server_time: "server's time to answer", transfer_time: "time to transfer a response",
    gap_fwd: "between the client's packets", gap_rev: "between the server's packets" };

  function make(tag, text, parent, attributes) {
    const node = document.createElement(tag);
    if (text !== null && text !== undefined) node.textContent = text;
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    if (parent) parent.appendChild(node);
    return node;
  }
  function shape(tag, attributes, parent, text) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  }
  const ms = (ns) => (ns === null || ns === undefined ? "" : (ns / 1e6).toFixed(3));
  const isLone = (row) => row.n[0] === null || row.n[1] === null;
  const state = (row) => (isLone(row) ? "lone" : row.fields.length || row.how === "segmentation" ? "differs" : "same");

  function table(parent, heads, rows) {
    const box = make("div", null, parent, { class: "scroll" });
    const node = make("table", null, box);
    const head = make("tr", null, make("thead", null, node));
    for (const name of heads) make("th", name, head);
    const body = make("tbody", null, node);
    for (const [cells, mark] of rows) {
      const line = make("tr", null, body, mark ? { class: mark } : {});
      for (const cell of cells) {
        const number = typeof cell === "number";
        make("td", cell === null ? "" : cell, line, { class: number ? "number" : String(cell).length > 40 ? "wide" : "" });
      }
    }
    return box;
  }

  function verdict() {
    const part = get("verdict");
    get("title").textContent = `${data.a} and ${data.b}`;
    document.title = "pcaptool diff";
    for (const section of document.querySelectorAll("main section")) {
      make("a", section.querySelector("h2").textContent, get("nav"), { href: `#${section.id}` });
    }
    make("p", data.verdict, part, { class: data.same ? "verdict same" : "verdict" });
    make("p", `A: ${data.a} · B: ${data.b} · compared as ${data.relation}`, part, { class: "note" });
    for (const note of data.notes) make("p", note, part, { class: "warning" });
    if (data.layers.length) {
      make("h3", "Layers", part);
      table(part, ["layer", "compared", "equal", "by a rule", "differ", "which"], data.layers.map((x) =>
        [[x.name, x.compared, x.equal, x.normalised, x.differing, x.fields.map(([f, n]) => `${f} (${n})`).join(", ")],
          x.differing ? "differs" : ""]));
    }
    if (data.rules.length) {
      make("h3", "Rules used", part);
      table(part, ["rule", "values", "what it makes equal"], data.rules.map((x) => [x, ""]));
    }
    if (data.behaviour.length) {
      make("h3", "Behaviour", part);
      table(part, ["direction", "measure", "A", "B", "flows", "differing"], data.behaviour.map((x) =>
        [[x.direction, x.measure, x.a, x.b, x.flows, x.differing], x.differing ? "differs" : ""]));
    }
    get("footer").textContent = `pcaptool ${data.version}`;
  }

  // Two ladders beside each other: client left, server right in each; a row belongs to both.
  function ladder() {
    const part = get("ladder");
    const rows = data.packets.filter((row) => row.way >= 0);
    if (!rows.length) { part.remove(); return; }
    const flows = [...new Set(rows.map((row) => row.flow))];
    const bar = make("div", null, part, { class: "controls" });
    const choice = make("select", null, bar, { "aria-label": "flow" });
    for (const flow of flows) make("option", `flow ${flow}`, choice, { value: flow });
    const box = make("div", null, part, { class: "scroll" });
    make("p", "Blue: the same; orange: differs; red: without counterpart. Times in ms since the flow's first packet.",
      part, { class: "note" });
    const draw = () => {
      box.replaceChildren();
      const mine = rows.filter((row) => String(row.flow) === choice.value).slice(0, LADDER);
      const step = 22, width = 1420, half = width / 2, height = 40 + step * mine.length;
      const svg = shape("svg", { class: "ladder", width, height, viewBox: `0 0 ${width} ${height}` }, box);
      ["A", "B"].forEach((name, side) => {
        const left = side * half + 105, right = side * half + half - 40;
        shape("text", { x: (left + right) / 2, y: 12, "text-anchor": "middle", class: "dim" }, svg, name);
        shape("text", { x: left, y: 24, "text-anchor": "middle" }, svg, "client");
        shape("text", { x: right, y: 24, "text-anchor": "middle" }, svg, "server");
        for (const x of [left, right]) shape("line", { x1: x, x2: x, y1: 28, y2: height }, svg);
        mine.forEach((row, i) => {
          if (row.n[side] === null) return;
          const y = 44 + i * step, [from, to] = row.way === 0 ? [left, right] : [right, left];
          const kind = state(row), tip = to > from ? -7 : 7;
          shape("text", { x: left - 8, y: y + 4, "text-anchor": "end", class: "dim" }, svg, `${row.n[side]}  ${ms(row.t[side])}`);
          shape("line", { x1: from, x2: to, y1: y, y2: y, class: kind }, svg);
          shape("path", { d: `M${to} ${y} l${tip} -4 v8 z`, class: kind }, svg);
          const words = row.text[side].length > 70 ? `${row.text[side].slice(0, 69)}…` : row.text[side];
          shape("text", { x: (left + right) / 2, y: y - 4, "text-anchor": "middle", class: kind }, svg, words);
        });
      });
    };
    choice.addEventListener("change", draw);
    draw();
  }

  function packets() {
    const part = get("packets");
    if (!data.packets.length) { part.remove(); return; }
    const bar = make("div", null, part, { class: "controls" });
    const only = make("input", null, make("label", "only differences ", bar), { type: "checkbox" });
    const place = make("div", null, part);
    const draw = () => {
      place.replaceChildren();
      const rows = data.packets.filter((row) => !only.checked || state(row) !== "same");
      table(place, ["", "flow", "A n", "ms", "A", "", "B n", "ms", "B", "differs in"], rows.map((row) => {
        const kind = state(row);
        const mark = row.n[0] === null ? "+" : row.n[1] === null ? "-" : kind === "differs" ? "~" : "=";
        return [[["→", "←"][row.way] || "", row.flow, row.n[0], ms(row.t[0]), row.text[0], mark, row.n[1],
          ms(row.t[1]), kind === "same" ? "the same" : row.text[1], row.fields.join(", ")], kind === "same" ? "" : kind];
      }));
    };
    only.addEventListener("change", draw);
    draw();
    make("p", `${data.packets.length} of ${data.aligned} rows.`, part, { class: "note" });
  }

  function bytes() {
    const part = get("bytes");
    if (!data.bytes.length) { part.remove(); return; }
    const bar = make("div", null, part, { class: "controls" });
    const choice = make("select", null, bar, { "aria-label": "packet" });
    data.bytes.forEach((one, i) => make("option",
      `${one.n[0] === null ? "-" : `A ${one.n[0]}`} / ${one.n[1] === null ? "-" : `B ${one.n[1]}`}: ${one.fields.join(", ")}`,
      choice, { value: i }));
    const box = make("div", null, part, { class: "sides" });
    const draw = () => {
      box.replaceChildren();
      const one = data.bytes[Number(choice.value)];
      [0, 1].forEach((side) => {
        const pre = make("pre", null, box, { class: "hex" });
        const mine = one.hex[side], other = one.hex[1 - side];
        if (!mine) { make("span", `${"AB"[side]}: no such packet`, pre, { class: "at" }); return; }
        make("span", `${"AB"[side]} frame ${one.n[side]}\n`, pre, { class: "at" });
        for (let at = 0; at < mine.length / 2; at += 1) {
          if (at % 16 === 0) make("span", `${at ? "\n" : ""}${at.toString(16).padStart(4, "0")}  `, pre, { class: "at" });
          const byte = mine.slice(2 * at, 2 * at + 2);
          const header = one.headers[side].find(([, from, to]) => at >= from && at < to);
          const differs = other && byte !== other.slice(2 * at, 2 * at + 2);
          make("span", byte, pre, { class: `${header ? header[0] : ""}${differs ? " differs" : ""}`,
            title: `byte ${at}${header ? `, ${header[0]} + ${at - header[1]}` : ""}` });
          pre.append(at % 16 === 7 ? "  " : " ");
        }
      });
    };
    choice.addEventListener("change", draw);
    draw();
    make("p", "Bytes that differ at the same place are marked; grey is the link header, blue IP, green the transport header.",
      part, { class: "note" });
  }

  function plot(parent, traces, layout) {
    const node = make("div", null, parent, { class: "plot" });
    const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line") };
    const whole = Object.assign({ paper_bgcolor: css("--bg"), plot_bgcolor: css("--bg"),
      font: { color: css("--fg"), size: 12 }, margin: { l: 70, r: 20, t: 30, b: 44 }, height: 340,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 } }, layout);
    whole.xaxis = Object.assign({}, axis, layout.xaxis);
    whole.yaxis = Object.assign({}, axis, layout.yaxis);
    Plotly.newPlot(node, traces, whole, {
      responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d"],
    });
  }

  function timing() {
    const part = get("timing");
    const colors = [css("--accent"), css("--warn")];
    const ways = Object.entries(data.deltas);
    if (!ways.length && !data.distributions.length) { part.remove(); return; }
    if (ways.length) {
      make("h3", data.one_way ? "Each packet: its one-way delay, without the clocks' offset and skew"
        : "Each packet: how much later since the flow's first packet it is in B", part);
      plot(part, ways.map(([way, [at, delta, a, b]], i) => ({ type: "scatter", mode: "markers", name: way,
        marker: { size: 5, color: colors[i] }, x: at.map((v) => v / 1e6), y: delta.map((v) => v / 1e6),
        text: a.map((n, k) => `A ${n}, B ${b[k]}`) })),
      { xaxis: { title: { text: "ms in A" } }, yaxis: { title: { text: data.one_way ? "ms on the way" : "ms later in B" } } });
    }
    for (const one of data.distributions.filter((x) => Math.min(x.count_a, x.count_b) > 1)) {
      const test = one.distance === null ? "too few values to test"
        : `Kolmogorov-Smirnov distance ${one.distance.toFixed(3)}, p ${one.probability.toPrecision(2)}`;
      make("h3", `Distribution: ${NAMES[one.what] || one.what} (${test})`, part);
      plot(part, ["a", "b"].map((side, i) => ({ type: "scatter", mode: "lines", name: `${"AB"[i]} (${one[`count_${side}`]})`,
        line: { color: colors[i], shape: "hv" }, x: one[side].map((v) => v / 1e6),
        y: one[side].map((_, k) => (k + 1) / one[side].length) })),
      { xaxis: { title: { text: "ms" } }, yaxis: { title: { text: "part of values below" }, range: [0, 1.02] } });
    }
  }

  function differences() {
    const part = get("differences");
    if (!data.differences.length) { part.remove(); return; }
    table(part, ["layer", "field", "flow", "direction", "A n", "B n", "A", "B", "cause"], data.differences.map((x) =>
      [[x.layer, x.field, x.flow, x.direction, x.n_a, x.n_b, x.value_a, x.value_b, x.cause], ""]));
    make("p", `${data.differences.length} of ${data.differing}.`, part, { class: "note" });
  }

  verdict(); ladder(); packets(); bytes(); timing(); differences();
  document.body.dataset.ready = "yes";
})();
