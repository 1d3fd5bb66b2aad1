/* The page's script: draws what stands in the data block #content.
 *
 * Captured text is written with textContent only; what plotly shows as labels passes through label(), because
 * plotly reads some markup. Times arrive as whole nanoseconds since the first packet.
 */
"use strict";
const page = (() => {
  const data = JSON.parse(document.getElementById("content").textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const get = (id) => document.getElementById(id);
  // Bits of a segment's mark: order of MARKS in segments.py.
  const MARKS = ["retransmission", "fast retransmission", "spurious retransmission", "out of order",
    "previous segment not captured", "duplicate ACK", "zero window", "window full", "keep-alive",
    "zero window probe"];
  const RETRANSMITTED = 1, OUT_OF_ORDER = 8, HOLE = 16, DUPLICATE = 32, ZERO = 64;
  const FLAGS = [[2, "SYN"], [1, "FIN"], [4, "RST"], [8, "PSH"], [16, "ACK"]];
  const LADDER = 250;
  const shared = { onPacket: () => {} }; // what details.js sets and uses

  function make(tag, text, parent, attributes) {
    const node = document.createElement(tag);
    if (text !== null && text !== undefined) node.textContent = text;
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    if (parent) parent.appendChild(node);
    return node;
  }
  const label = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const number = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, " ");
  function span(ns) {
    if (ns === null || ns === undefined) return "-";
    const far = Math.abs(ns);
    if (far < 1e3) return `${ns} ns`;
    if (far < 1e6) return `${(ns / 1e3).toFixed(3)} µs`;
    if (far < 1e9) return `${(ns / 1e6).toFixed(3)} ms`;
    return `${(ns / 1e9).toFixed(6)} s`;
  }
  const flags = (bits) => FLAGS.filter(([bit]) => bits & bit).map(([, name]) => name).join(",");
  const marks = (bits) => MARKS.filter((_, i) => bits & (1 << i)).join(", ");

  function draw(id, traces, layout, parent) {
    const node = make("div", null, parent, { class: "plot", id });
    const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line") };
    const whole = Object.assign({
      paper_bgcolor: css("--bg"), plot_bgcolor: css("--bg"), font: { color: css("--fg"), size: 12 },
      margin: { l: 90, r: 20, t: 12, b: 44 }, hovermode: "closest", dragmode: "zoom",
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, hoverlabel: { align: "left" },
    }, layout);
    for (const name of ["xaxis", "yaxis", "yaxis2"]) {
      if (whole[name]) whole[name] = Object.assign({}, axis, whole[name]);
    }
    Plotly.newPlot(node, traces, whole, {
      responsive: true, displaylogo: false, scrollZoom: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d"],
    });
    return node;
  }

  // The unit of a time axis by what it spans: divisor of nanoseconds, and its name.
  function unit(low, high) {
    const far = high - low;
    return far < 2e6 ? [1e3, "µs"] : far < 2e9 ? [1e6, "ms"] : [1e9, "s"];
  }

  // -- overview ---------------------------------------------------------------------------------------------

  function overview() {
    const section = get("overview");
    get("title").textContent = data.title;
    document.title = `${data.title} · pcaptool`;
    for (const part of document.querySelectorAll("main section")) {
      make("a", part.querySelector("h2").textContent, get("nav"), { href: `#${part.id}` });
    }
    const list = make("dl", null, section);
    for (const [name, value] of data.overview) {
      const item = make("div", null, list);
      make("dt", name, item);
      make("dd", value, item);
    }
    for (const note of data.notes) make("p", note, section, { class: "warning" });
    get("footer").textContent = `pcaptool ${data.version}` + (data.command ? ` · ${data.command}` : "");
  }

  // -- exchanges --------------------------------------------------------------------------------------------

  function waterfall() {
    const { total, shown, columns: x } = data.exchanges;
    const section = get("exchanges");
    if (!shown) { section.remove(); document.querySelector('a[href="#exchanges"]').remove(); return; }
    const drawn = x.flow.map((_, i) => i).filter((i) => (x.request_first_ts[i] ?? x.response_first_ts[i]) !== null);
    const some = drawn.length < total ? `the slowest ${number(drawn.length)} of ${number(total)}` : number(total);
    make("p", `${some}, in the order of their beginnings. A click on a bar shows its flow.`, section,
      { class: "note" });
    const start = (i) => x.request_first_ts[i] ?? x.response_first_ts[i];
    const end = (i) => x.response_last_ts[i] ?? x.response_first_ts[i] ?? x.request_last_ts[i] ?? start(i);
    const [by, name] = unit(Math.min(...drawn.map(start)), Math.max(...drawn.map(end)));
    const text = (i) => label(`${x.method[i] ?? "?"} ${x.target[i] ?? ""} → ${x.status[i] ?? "no response"}`);
    const spans = [
      ["request", "request_first_ts", "request_last_ts", css("--ok")],
      ["server: request complete to first byte of the response", "request_last_ts", "response_first_ts", css("--warn")],
      ["response", "response_first_ts", "response_last_ts", css("--accent")],
    ];
    const traces = spans.map(([what, from, to, color]) => {
      const here = drawn.filter((i) => x[from][i] !== null && x[to][i] !== null);
      return {
        type: "bar", orientation: "h", name: what, marker: { color },
        y: here.map((i) => drawn.indexOf(i)), base: here.map((i) => x[from][i] / by),
        x: here.map((i) => (x[to][i] - x[from][i]) / by), customdata: here.map((i) => x.flow[i]),
        text: here.map((i) => `${text(i)}<br>flow ${x.flow[i]}, exchange ${x.exchange[i]}, ` +
          `packets ${x.request_first_n[i] ?? "?"} to ${x.response_last_n[i] ?? "?"}<br>${what}: ` +
          `${span(x[to][i] - x[from][i])}<br>${number(x.response_body_bytes[i])} bytes` +
          (x.trouble[i] ? `<br>${label(x.trouble[i])}` : "")),
        textposition: "none", hovertemplate: "%{text}<extra></extra>",
      };
    });
    traces.push({ // short spans vanish in a bar: a mark at the beginning is always seen
      type: "scatter", mode: "markers", showlegend: false, hoverinfo: "skip",
      marker: { symbol: "line-ns-open", size: 9, color: css("--fg") },
      x: drawn.map((i) => start(i) / by), y: drawn.map((_, row) => row),
    });
    const labels = drawn.map((i) => { const t = text(i); return t.length > 46 ? `${label(
      `${x.method[i] ?? "?"} ${x.target[i] ?? ""}`.slice(0, 40))}…` : t; });
    const plot = draw("waterfall", traces, {
      barmode: "overlay", bargap: 0.25, height: Math.max(180, 90 + 20 * drawn.length), margin: { l: 300, r: 20, t: 30, b: 44 },
      xaxis: { title: { text: `${name} since the first packet` } },
      yaxis: { autorange: "reversed", tickvals: drawn.map((_, row) => row), ticktext: labels, fixedrange: false },
    }, section);
    plot.on("plotly_click", (event) => {
      const flow = event.points[0].customdata;
      if (data.flows.some((f) => f.flow === flow)) { choose(flow); get("flow").scrollIntoView(); }
    });
  }

  // -- one flow ---------------------------------------------------------------------------------------------

  const chosen = { flow: null, fwd: 0 };
  let picker, buttons, pictures;

  function flowSection() {
    const section = get("flow");
    if (!data.flows.length) { section.remove(); document.querySelector('a[href="#flow"]').remove(); return; }
    const some = data.flows.length < data.flows_total
      ? `${data.flows.length} of ${number(data.flows_total)} flows are drawn: TCP, those in trouble and the biggest.`
      : "All flows.";
    make("p", some, section, { class: "note" });
    const controls = make("div", null, section, { class: "controls" });
    picker = make("select", null, controls, { id: "picker", "aria-label": "flow" });
    for (const f of data.flows) {
      const ill = f.mark.filter((bits) => bits & (RETRANSMITTED | OUT_OF_ORDER | HOLE | ZERO)).length;
      make("option", `flow ${f.flow}: ${f.a} → ${f.b}, ${number(f.total)} segments${ill ? `, ${ill} marked` : ""}`,
        picker, { value: f.flow });
    }
    picker.addEventListener("change", () => choose(Number(picker.value)));
    buttons = [1, 0].map((fwd) => {
      const button = make("button", fwd ? "originator's data" : "responder's data", controls, { id: `side-${fwd}` });
      button.addEventListener("click", () => { chosen.fwd = fwd; picture(); });
      return [fwd, button];
    });
    pictures = make("div", null, section);
    choose(data.flows[0].flow);
  }

  function choose(number_) {
    const f = data.flows.find((each) => each.flow === number_);
    const carried = [0, 0];
    f.len.forEach((bytes, i) => { carried[f.fwd[i]] += bytes; });
    chosen.flow = f;
    chosen.fwd = carried[1] > carried[0] ? 1 : 0;
    picker.value = String(number_);
    picture();
  }

  function picture() {
    const f = chosen.flow;
    for (const node of pictures.querySelectorAll(".plot")) Plotly.purge(node);
    pictures.replaceChildren();
    for (const [fwd, button] of buttons) button.className = fwd === chosen.fwd ? "on" : "";
    if (f.n.length < f.total) {
      make("p", `A sample of ${number(f.n.length)} of ${number(f.total)} segments: the first ones, marked ones, ` +
        "and some evenly spread between; lines between points skip what is not in the sample.", pictures,
        { class: "warning", id: "sampled" });
    }
    const at = f.n.map((_, i) => i);
    const [by, name] = unit(f.t[0], f.t[f.t.length - 1]);
    const from = chosen.fwd ? f.a : f.b;
    make("h3", `Time and sequence numbers: data of ${from}`, pictures);
    sequence(f, at, by, name);
    make("h3", "Round-trip time and bytes in flight", pictures);
    trips(f, at, by, name);
    make("h3", `Ladder: ${f.a} and ${f.b}`, pictures);
    ladder(f);
  }

  function hover(f, i) {
    const end = f.seq[i] + f.len[i];
    return `packet ${f.n[i]}, ${span(f.t[i])}<br>[${flags(f.flags[i])}] seq ${number(f.seq[i])}` +
      (f.len[i] ? ` to ${number(end)}, ${number(f.len[i])} bytes` : "") +
      `<br>ack ${number(f.ack[i] ?? 0)}, window ${number(f.win[i])}` + (f.mark[i] ? `<br>${marks(f.mark[i])}` : "");
  }

  // As tcptrace and xplot draw it: a vertical stroke a segment, the other side's ACK and ACK + window as steps.
  function sequence(f, at, by, name) {
    const sent = at.filter((i) => f.fwd[i] === chosen.fwd && (f.len[i] || f.flags[i] & 7));
    const back = at.filter((i) => f.fwd[i] !== chosen.fwd && f.flags[i] & 16 && !(f.flags[i] & 4));
    const time = (i) => f.t[i] / by;
    const strokes = (name_, color, which, width) => ({
      type: "scatter", mode: "lines", name: name_, line: { color, width }, hoverinfo: "skip",
      x: which.flatMap((i) => [time(i), time(i), null]),
      y: which.flatMap((i) => [f.seq[i], f.seq[i] + Math.max(f.len[i], 1), null]),
    });
    const ends = (name_, color, which, symbol) => ({
      type: "scatter", mode: "markers", name: name_, marker: { color, symbol, size: 6 },
      x: which.map(time), y: which.map((i) => f.seq[i] + f.len[i]), customdata: which.map((i) => f.n[i]),
      text: which.map((i) => hover(f, i)), hovertemplate: "%{text}<extra></extra>",
    });
    const resent = sent.filter((i) => f.mark[i] & RETRANSMITTED);
    const late = sent.filter((i) => f.mark[i] & OUT_OF_ORDER);
    const others = sent.filter((i) => !(f.mark[i] & (RETRANSMITTED | OUT_OF_ORDER)));
    const control = sent.filter((i) => f.flags[i] & 7);
    const step = (name_, color, y, dash) => ({
      type: "scatter", mode: "lines+markers", name: name_, line: { color, width: 1.3, shape: "hv", dash },
      marker: { size: 3, color }, x: back.map(time), y: back.map(y), customdata: back.map((i) => f.n[i]),
      text: back.map((i) => hover(f, i)), hovertemplate: "%{text}<extra></extra>",
    });
    const sacks = back.flatMap((i) => f.sack[i].flatMap((edge, k) => (k % 2 ? [] : [[i, edge, f.sack[i][k + 1]]])));
    const traces = [
      step("window: ACK + window", css("--warn"), (i) => (f.ack[i] ?? 0) + f.win[i], "dot"),
      step("ACK", css("--ok"), (i) => f.ack[i] ?? 0, "solid"),
      strokes("segments", css("--accent"), others, 2), ends("end of a segment", css("--accent"), others, "triangle-up"),
    ];
    traces[3].showlegend = false;
    if (sacks.length) {
      traces.push({
        type: "scatter", mode: "lines", name: "SACK", line: { color: "#a259d9", width: 3 }, hoverinfo: "skip",
        x: sacks.flatMap(([i]) => [time(i), time(i), null]), y: sacks.flatMap(([, left, right]) => [left, right, null]),
      });
    }
    for (const [what, color, which, symbol] of [["retransmitted", css("--bad"), resent, "x"],
      ["out of order", "#d977b8", late, "diamond"]]) {
      if (!which.length) continue;
      const stroke = strokes(what, color, which, 3);
      stroke.showlegend = false;
      traces.push(stroke, ends(what, color, which, symbol));
    }
    if (control.length) {
      const points = ends("SYN, FIN, RST", css("--fg"), control, "circle-open");
      points.marker.size = 10;
      traces.push(points);
    }
    // The window is often far above the data: the first view holds data and ACKs, double click shows all.
    const tops = sent.map((i) => f.seq[i] + f.len[i]).concat(back.map((i) => f.ack[i] ?? 0));
    const high = tops.reduce((a, b) => Math.max(a, b), 1);
    const plot = draw("sequence", traces, {
      height: 520, margin: { l: 90, r: 20, t: 34, b: 44 },
      xaxis: { title: { text: `${name} since the first packet` } },
      yaxis: { title: { text: "sequence number, relative" }, range: [-0.04 * high, 1.08 * high], tickformat: "~s" },
    }, pictures);
    plot.on("plotly_click", (event) => { const n = event.points[0].customdata; if (n) shared.onPacket(n); });
    make("p", "Drag to zoom, double click to go back, click a legend entry to hide it. The view begins with data and " +
      "ACKs; \"Autoscale\" of the plot's own buttons also shows the window line where it is far above.", pictures,
      { class: "note" });
  }

  function trips(f, at, by, name) {
    const timed = at.filter((i) => f.fwd[i] !== chosen.fwd && f.rtt[i] !== null);
    const held = at.filter((i) => f.fwd[i] === chosen.fwd && f.flight[i] !== null);
    const time = (i) => f.t[i] / by;
    const most = timed.reduce((a, i) => Math.max(a, f.rtt[i]), 0);
    const [divisor, word] = unit(0, most);
    draw("trips", [
      { type: "scatter", mode: "markers", name: `RTT (${word}, left)`, marker: { color: css("--ok"), size: 5 },
        x: timed.map(time), y: timed.map((i) => f.rtt[i] / divisor),
        text: timed.map((i) => `packet ${f.n[i]}: ACK after ${span(f.rtt[i])}`), hovertemplate: "%{text}<extra></extra>" },
      { type: "scatter", mode: "lines+markers", name: "bytes in flight (right)", yaxis: "y2",
        line: { color: css("--accent"), width: 1, shape: "hv" }, marker: { size: 3 },
        x: held.map(time), y: held.map((i) => f.flight[i]),
        text: held.map((i) => `packet ${f.n[i]}: ${number(f.flight[i])} bytes in flight`),
        hovertemplate: "%{text}<extra></extra>" },
    ], {
      height: 300, margin: { l: 90, r: 80, t: 34, b: 44 }, xaxis: { title: { text: `${name} since the first packet` } },
      yaxis: { title: { text: `RTT, ${word}` }, rangemode: "tozero" },
      yaxis2: { title: { text: "bytes in flight" }, overlaying: "y", side: "right", rangemode: "tozero", showgrid: false,
        automargin: true, tickformat: ",.0f" },
    }, pictures);
  }

  function ladder(f) {
    const rows = Math.min(LADDER, f.n.length);
    if (rows < f.n.length) {
      make("p", `The first ${rows} of ${number(f.n.length)} segments above.`, pictures, { class: "note" });
    }
    const height = 24, left = 250, right = 800, top = 30;
    const box = make("div", null, pictures, { class: "scroll", id: "ladder" });
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const add = (tag, attributes, text) => {
      const node = document.createElementNS(space, tag);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      if (text !== undefined) node.textContent = text;
      svg.appendChild(node);
      return node;
    };
    svg.setAttribute("class", "ladder");
    svg.setAttribute("width", "1240");
    svg.setAttribute("height", String(top + height * (rows + 1)));
    for (const [x, who] of [[left, f.a], [right, f.b]]) {
      add("text", { x, y: 16, "text-anchor": "middle" }, who);
      add("line", { x1: x, x2: x, y1: 22, y2: top + height * rows });
    }
    for (let i = 0; i < rows; i += 1) {
      const y = top + height * (i + 0.6), right_ = f.fwd[i] === 1;
      const begin = right_ ? left : right, end = right_ ? right : left, back = right_ ? -8 : 8;
      const bits = f.mark[i];
      const kind = bits & RETRANSMITTED || f.flags[i] & 4 ? "bad" : bits ? "warn" : f.len[i] ? "data" : "plain";
      add("line", { x1: begin, x2: end, y1: y, y2: y, class: kind });
      add("path", { d: `M${end} ${y}l${back} -4v8z`, class: kind });
      const range = f.len[i] ? `seq ${f.seq[i]}:${f.seq[i] + f.len[i]} (${f.len[i]})` : `seq ${f.seq[i]}`;
      add("text", { x: (left + right) / 2, y: y - 3, "text-anchor": "middle" },
        `${flags(f.flags[i])}  ${range}  ack ${f.ack[i] ?? 0}  win ${f.win[i]}`);
      add("text", { x: left - 12, y: y + 3, "text-anchor": "end" }, `#${f.n[i]}  ${span(f.t[i])}`);
      const step = i ? `+${span(f.t[i] - f.t[i - 1])}` : "";
      add("text", { x: right + 12, y: y + 3, class: bits ? "" : "dim" }, bits ? `${step}  ${marks(bits)}` : step);
      const target = add("rect", { x: 0, y: y - height / 2, width: 1240, height, fill: "transparent", class: "row", "data-n": f.n[i] });
      target.addEventListener("click", () => shared.onPacket(f.n[i]));
    }
    box.appendChild(svg);
  }

  // -- tables -----------------------------------------------------------------------------------------------

  function tables() {
    const section = get("tables");
    const controls = make("div", null, section, { class: "controls", id: "names" });
    const search = make("input", null, section, { type: "search", id: "search", placeholder: "search in all columns" });
    const note = make("p", "", section, { class: "note", id: "count" });
    const box = make("div", null, section, { class: "scroll" });
    let table = null, order = null;
    const buttonsOf = new Map();

    function rows() {
      const wanted = search.value.toLowerCase();
      const found = table.rows.filter((row) => !wanted || row.some((v) => v !== null && String(v).toLowerCase().includes(wanted)));
      if (order) {
        const [column, sign] = order;
        found.sort((p, q) => {
          const a = p[column], b = q[column];
          if (a === b) return 0;
          if (a === null) return 1;
          if (b === null) return -1;
          return (a < b ? -1 : 1) * sign;
        });
      }
      return found;
    }

    function show() {
      box.replaceChildren();
      const node = make("table", null, box);
      const head = make("tr", null, make("thead", null, node));
      table.columns.forEach(([name, doc], i) => {
        const arrow = order && order[0] === i ? (order[1] > 0 ? " ▲" : " ▼") : "";
        make("th", name + arrow, head, { title: doc }).addEventListener("click", () => {
          order = [i, order && order[0] === i ? -order[1] : 1];
          show();
        });
      });
      const body = make("tbody", null, node);
      const found = rows();
      for (const row of found) {
        const line = make("tr", null, body);
        for (const value of row) {
          const cell = make("td", value === null ? "·" : String(value), line);
          if (value === null) cell.className = "none";
          else if (typeof value === "number") cell.className = "number";
          else if (String(value).length > 50) cell.title = String(value);
        }
      }
      const whole = table.rows.length < table.total
        ? `the first ${number(table.rows.length)} of ${number(table.total)} rows stand in this page`
        : `${number(table.total)} rows`;
      const empty = table.unused.length ? ` Without a value here: ${table.unused.join(", ")}.` : "";
      note.textContent = `${table.doc} ${found.length < table.rows.length ? `${number(found.length)} found; ` : ""}${whole}.${empty}`;
    }

    for (const each of data.tables) {
      const button = make("button", `${each.name} ${number(each.total)}`, controls, { id: `table-${each.name}` });
      buttonsOf.set(each, button);
      button.addEventListener("click", () => {
        table = each;
        order = null;
        for (const [other, node] of buttonsOf) node.className = other === each ? "on" : "";
        show();
      });
    }
    search.addEventListener("input", show);
    const first = data.tables.find((each) => each.name === "flows") || data.tables[0];
    if (first) buttonsOf.get(first).click();
  }

  overview();
  waterfall();
  flowSection();
  tables();
  const showFlow = (flow) => {
    if (data.flows.some((f) => f.flow === flow)) { choose(flow); get("flow").scrollIntoView(); }
  };
  return Object.assign(shared, { data, make, label, number, span, unit, draw, get, css, showFlow });
})();
