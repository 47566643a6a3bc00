// A controlled table: the page says which rows are selected; clicks and keys only ask for a change.
const NAMED = { text: "", line: "line", phrase: "phrase", wide: "wide", number: "number", interval: "number", pieces: "pieces" };
const SVG = "http://www.w3.org/2000/svg";

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.appendChild(made);
  return made;
}

function strip(cell, range) {
  // a line from the lowest to the highest number: chance a grey band, the best baseline a tick, random weights a ring,
  // the value a dot
  const place = (value) => 3 + 58 * (value - range[0]) / (range[1] - range[0] || 1);
  const svg = document.createElementNS(SVG, "svg");
  const shape = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    svg.appendChild(made);
  };
  svg.setAttribute("width", 64); svg.setAttribute("height", 14); svg.setAttribute("class", "strip");
  svg.setAttribute("aria-hidden", "true");
  shape("line", { x1: 2, x2: 62, y1: 7, y2: 7, stroke: "currentColor", "stroke-opacity": 0.25 });
  if (cell.low !== null && cell.high !== null) {
    const width = Math.max(2, place(cell.high) - place(cell.low));
    shape("rect", { x: place(cell.low), y: 0, width, height: 14, rx: 2, fill: "currentColor", "fill-opacity": 0.3 });
  }
  if (cell.baseline !== null) shape("rect", { x: place(cell.baseline) - 1, y: 1, width: 2, height: 12, fill: "currentColor" });
  if (cell.random_weights !== null) shape("circle", { cx: place(cell.random_weights), cy: 7, r: 3, fill: "none", stroke: "currentColor", "stroke-width": 1.5 });
  shape("circle", { cx: place(cell.sort), cy: 7, r: 3.5, fill: "var(--st-primary-color)" });
  return svg;
}

function tokens(parts) {
  // the pieces of a text, distinguished by their background; a cut line where the model stops reading
  const line = document.createElement("span");
  for (const part of parts) {
    element("span", part === "" ? "·" : part, line).className = part === "✂" ? "cut" : "piece";
    element("wbr", undefined, line);
  }
  return line;
}

function order(rows, sort) {
  const indices = rows.map((_, i) => i);
  if (sort.column < 0) return indices;
  const value = (i) => rows[i][sort.column].sort ?? (rows[i][sort.column].text === "–" ? null : rows[i][sort.column].text);
  return indices.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sort.down * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
  });
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const [columns, rows] = [JSON.parse(data.columns), JSON.parse(data.rows)];
  const muted = new Set(JSON.parse(data.muted));
  let selected = new Set(JSON.parse(data.selected));
  const scroll = parentElement.querySelector(".scroll"), message = parentElement.querySelector(".message");
  const sort = parentElement.numembedSort ?? (parentElement.numembedSort = { column: -1, down: 1 });
  if (data.height) scroll.style.maxHeight = data.height + "px";
  scroll.setAttribute("aria-label", data.label);
  parentElement.querySelector("caption").textContent = data.label;
  const [head, body] = [parentElement.querySelector("thead"), parentElement.querySelector("tbody")];

  const best = columns.map((column, i) => {
    const values = rows.map((row) => row[i].sort).filter((v) => typeof v === "number");
    return column.better && values.length > 1 ? Math[column.better === "high" ? "max" : "min"](...values) : null;
  });
  const ranges = columns.map((column, i) => {
    const cells = rows.map((row) => row[i]).filter((cell) => typeof cell.sort === "number");
    const all = cells.flatMap((cell) => [cell.sort, ...[cell.low, cell.high, cell.baseline, cell.random_weights].map((v) => v ?? cell.sort)]);
    return [Math.min(...all), Math.max(...all)];
  });

  function tell(text) {
    message.hidden = !text;
    message.textContent = text;
  }

  function drawHead() {
    head.replaceChildren();
    if (columns.some((column) => column.group)) {
      const line = element("tr", undefined, head);
      line.className = "groups";
      for (let i = 0; i < columns.length;) {
        let span = 1;
        while (i + span < columns.length && columns[i + span].group === columns[i].group) span++;
        const cell = element(columns[i].group ? "th" : "td", columns[i].group, line);
        cell.colSpan = span;
        if (!columns[i].group) cell.style.background = "var(--st-secondary-background-color)";
        i += span;
      }
    }
    const line = element("tr", undefined, head);
    columns.forEach((column, i) => {
      const cell = element("th", undefined, line);
      cell.scope = "col";
      cell.className = NAMED[column.kind];
      cell.setAttribute("aria-sort", sort.column !== i ? "none" : sort.down > 0 ? "ascending" : "descending");
      const arrow = sort.column === i ? (sort.down > 0 ? " ↑" : " ↓") : "";
      const button = element("button", column.title + arrow, cell);
      button.tabIndex = 0;
      button.title = column.help;
      const turn = () => {
        const first = column.better === "high" || (NAMED[column.kind] === "number" && !column.better) ? -1 : 1;
        if (sort.column === i) sort.down = -sort.down; else Object.assign(sort, { column: i, down: first });
        tell(column.help ? column.title + ": " + column.help : "");
        drawHead(); drawBody();
        head.querySelectorAll("button")[i].focus();
      };
      button.onclick = turn;
      button.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); turn(); } };
    });
  }

  function toggle(i, several) {
    if (several) { if (selected.has(i)) selected.delete(i); else selected.add(i); }
    else selected = selected.has(i) && selected.size === 1 ? new Set() : new Set([i]);
    drawBody(i);
    // the time makes every click news: rows may have changed under the same numbers
    setStateValue("selected", { rows: [...selected].sort((a, b) => a - b), at: Date.now() });
  }

  function drawBody(focus) {
    body.replaceChildren();
    for (const i of order(rows, sort)) {
      const line = element("tr", undefined, body);
      if (muted.has(i)) line.className = "muted";
      rows[i].forEach((cell, j) => {
        const made = element(j ? "td" : "th", undefined, line);
        if (!j) made.scope = "row";
        made.className = NAMED[columns[j].kind];
        if (columns[j].kind === "interval" && typeof cell.sort === "number") made.appendChild(strip(cell, ranges[j]));
        if (columns[j].kind === "pieces" && cell.text.startsWith("[")) made.appendChild(tokens(JSON.parse(cell.text)));
        else made.appendChild(document.createTextNode(cell.text));
        if (best[j] !== null && cell.sort === best[j]) made.classList.add("best");
        if (cell.note) made.title = cell.note;
      });
      if (!data.selectable) continue;
      line.setAttribute("aria-selected", selected.has(i));
      line.tabIndex = 0;
      line.onclick = (event) => toggle(i, event.ctrlKey || event.metaKey || event.shiftKey);
      line.onkeydown = (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(i, event.ctrlKey || event.shiftKey); }
        const other = event.key === "ArrowDown" ? line.nextSibling : event.key === "ArrowUp" ? line.previousSibling : null;
        if (other) { event.preventDefault(); other.focus(); }
      };
      if (i === focus) line.focus();
    }
  }

  drawHead();
  drawBody();
}
