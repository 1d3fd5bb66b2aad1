/* Single exchanges and packets: where time went, bytes of a frame and what the tables say of it, stages.
 *
 * Shares page.js's helpers and rule: captured text is written with textContent only, or passed through label().
 */
"use strict";
(() => {
  const { data, make, label, number, span, unit, draw, get, css } = page;

  function remove(id) {
    get(id).remove();
    document.querySelector(`a[href="#${id}"]`).remove();
  }

  // -- where the time went ----------------------------------------------------------------------------------

  function timings() {
    const t = data.timings, section = get("timings");
    if (!t.flow.length) { remove("timings"); return; }
    const some = t.flow.length < t.total ? `the longest ${number(t.flow.length)} of ${number(t.total)}` : number(t.total);
    make("p", `${some} exchanges that were seen whole. Parts stand in the order of the legend, not of time; docs/analysis.md ` +
      "says what each is. A click on a bar shows its flow.", section, { class: "note" });
    const most = Math.max(...t.flow.map((_, i) => t.parts.reduce((sum, part) => sum + Math.max(part[i], 0), 0)));
    const [by, name] = unit(0, most);
    const text = t.label.map((what, i) => label(`${what} (flow ${t.flow[i]}, exchange ${t.exchange[i]})`));
    const colors = ["#1b7f4b", "#c62828", "#8a63d2", "#b26a00", "#5b8def", "#d977b8", "#1764c0", "#98a2b3", "#9a8c5a"];
    const plot = draw("parts", t.names.map((what, k) => ({
      type: "bar", orientation: "h", name: what, marker: { color: colors[k % colors.length] },
      y: t.flow.map((_, i) => i), x: t.parts[k].map((ns) => ns / by), customdata: t.flow,
      text: t.parts[k].map((ns, i) => `${text[i]}<br>${what}: ${span(ns)}`),
      textposition: "none", hovertemplate: "%{text}<extra></extra>", visible: t.parts[k].some((ns) => ns) || "legendonly",
    })), {
      barmode: "relative", bargap: 0.25, height: Math.max(180, 90 + 20 * t.flow.length), margin: { l: 300, r: 20, t: 30, b: 44 },
      xaxis: { title: { text: name } },
      yaxis: { autorange: "reversed", tickvals: t.flow.map((_, i) => i), ticktext: t.label.map((what) => label(what.slice(0, 40))) },
    }, section);
    plot.on("plotly_click", (event) => page.showFlow(event.points[0].customdata));
  }

  // -- one packet -------------------------------------------------------------------------------------------

  let input, dump, fields, note;

  function bytesOf(n) {
    const found = data.frames && data.frames.frames[n];
    if (!found) return null;
    return [found[0], Uint8Array.from(atob(found[1]), (c) => c.charCodeAt(0))];
  }

  function hexLines(bytes) {
    const lines = [];
    for (let at = 0; at < bytes.length; at += 16) {
      const row = Array.from(bytes.slice(at, at + 16));
      const hex = row.map((b) => b.toString(16).padStart(2, "0"));
      const left = `${hex.slice(0, 8).join(" ")}  ${hex.slice(8).join(" ")}`.padEnd(50);
      lines.push(`${at.toString(16).padStart(4, "0")}  ${left} ${row.map((b) => (b > 31 && b < 127 ? String.fromCharCode(b) : ".")).join("")}`);
    }
    return lines.join("\n");
  }

  function showPacket(n) {
    input.value = String(n);
    const found = bytesOf(n);
    if (found) {
      const [captured, bytes] = found;
      dump.textContent = hexLines(bytes);
      note.textContent = `${number(captured)} bytes were captured` +
        (bytes.length < captured ? `; the first ${bytes.length} stand in this page.` : ".");
    } else {
      dump.textContent = "";
      note.textContent = data.frames
        ? `The bytes of packet ${n} are not in this page: it holds those of ${number(Object.keys(data.frames.frames).length)} packets.`
        : "This page was made without the capture, so it has no bytes; pcaptool report REPORT --capture FILE adds them.";
    }
    fields.replaceChildren();
    for (const table of data.tables) {
      const at = table.columns.findIndex(([name]) => name === "n");
      if (at < 0) continue;
      for (const row of table.rows.filter((each) => each[at] === n)) {
        table.columns.forEach(([name, doc], i) => {
          if (i === at || row[i] === null || row[i] === false || row[i] === "") return;
          const line = make("tr", null, fields);
          make("td", table.name, line);
          make("td", name, line, { title: doc });
          make("td", String(row[i]), line);
        });
      }
    }
    if (!fields.childElementCount) make("td", "This packet's rows are beyond those of the tables below.", make("tr", null, fields));
  }

  function packet() {
    const section = get("packet");
    if (!data.packets) { remove("packet"); return; }
    const controls = make("div", null, section, { class: "controls" });
    const step = (by) => showPacket(Math.min(Math.max(Number(input.value) + by, 1), data.packets));
    make("button", "◀", controls, { id: "packet-before", title: "packet before" }).addEventListener("click", () => step(-1));
    input = make("input", null, controls, { type: "number", id: "packet-n", min: 1, max: data.packets, "aria-label": "packet number" });
    make("button", "▶", controls, { id: "packet-next", title: "next packet" }).addEventListener("click", () => step(1));
    input.addEventListener("change", () => step(0));
    make("span", "or a click on a packet in the ladder or the graph above", controls);
    note = make("p", "", section, { class: "note", id: "packet-note" });
    const both = make("div", null, section, { class: "both" });
    dump = make("pre", "", make("div", null, both, { class: "scroll" }), { id: "bytes" });
    fields = make("tbody", null, make("table", null, make("div", null, both, { class: "scroll" }), { id: "fields" }));
    page.onPacket = (n) => { showPacket(n); section.scrollIntoView(); };
    showPacket(1);
  }

  // -- stages -----------------------------------------------------------------------------------------------

  function stages() {
    const section = get("stages"), frames = Object.keys(data.stages.frames).map(Number);
    if (!frames.length) { remove("stages"); return; }
    const some = frames.length < data.stages.total
      ? `The first ${number(frames.length)} of ${number(data.stages.total)} frames that have stages.` : "All frames that have stages.";
    make("p", `When a frame passed each stage from send() to the wire. ${some}`, section, { class: "note" });
    const controls = make("div", null, section, { class: "controls" });
    const chooser = make("select", null, controls, { id: "stage-frame", "aria-label": "frame" });
    for (const n of frames) {
      const rows = data.stages.frames[n];
      const last = rows[rows.length - 1];
      make("option", `packet ${n}: ${number(last[2])} bytes, ${span(last[1])}`, chooser, { value: n });
    }
    const table = make("table", null, make("div", null, section, { class: "scroll" }), { id: "way" });
    const head = make("tr", null, make("thead", null, table));
    for (const name of ["stage", "since the first", "step", "", "bytes", "headers so far"]) make("th", name, head);
    const body = make("tbody", null, table);
    const show = () => {
      body.replaceChildren();
      const rows = data.stages.frames[Number(chooser.value)];
      const longest = Math.max(1, ...rows.map(([, since], i) => (i ? since - rows[i - 1][1] : 0)));
      rows.forEach(([stage, since, size, headers], i) => {
        const line = make("tr", null, body), step = i ? since - rows[i - 1][1] : null;
        make("td", stage, line);
        make("td", span(since), line, { class: "number" });
        make("td", step === null ? "-" : span(step), line, { class: "number" });
        const bar = make("span", null, make("td", null, line), { class: "bar" });
        bar.style.width = `${Math.round(120 * (step ?? 0) / longest)}px`;
        make("td", number(size), line, { class: "number" });
        make("td", headers.replace(/:/g, " "), line);
      });
    };
    chooser.addEventListener("change", show);
    show();
  }

  timings();
  packet();
  stages();
  document.body.dataset.ready = "yes";
})();
