// Glue between the page and the specification: it starts Python in the page, hands it steps, and shows what it tells.
const place = document.getElementById("play");
const clauses = place.dataset.clauses; // address of a clause's page, with {} for its id
const base = place.dataset.base; // address of the folder with pyodide/ and specification.zip
const part = (name) => place.querySelector(`[data-part=${name}]`);
let page;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(title, rows) {
  const made = element("div", undefined, "play-table");
  made.append(element("h3", title));
  if (!rows.length) {
    made.append(element("p", "none"));
    return made;
  }
  const inner = element("table");
  const head = element("tr");
  for (const name of Object.keys(rows[0])) head.append(element("th", name));
  inner.append(head);
  for (const row of rows) {
    const line = element("tr");
    for (const value of Object.values(row)) line.append(element("td", value));
    inner.append(line);
  }
  made.append(inner);
  return made;
}

function show(text) {
  const told = JSON.parse(text);
  part("error").textContent = told.error || "";
  if (told.error) return;
  for (const { who, what, clause } of told.log) {
    const line = element("li", undefined, `play-${who.length === 1 ? "client" : who}`);
    line.append(element("b", who), element("span", what));
    if (clause) {
      const link = element("a", clause);
      link.href = clauses.replace("{}", clause);
      line.append(link);
    }
    part("log").append(line);
  }
  part("log").scrollTop = part("log").scrollHeight;
  part("state").replaceChildren(
    table("Clients", told.clients), table("Sessions", told.sessions), table("Bindings", told.bindings));
}

function begin() {
  part("log").replaceChildren();
  show(page.begin());
}

const step = (what) => show(page.step(part("client").value, JSON.stringify(what)));
const value = (name) => part(name).value;

const deeds = {
  request: () => step({
    do: "request", name: value("name"), ttl: value("ttl"),
    first: value("first"), properties: value("properties"), second: value("second"),
  }),
  descriptors: () => step({ do: "descriptors", count: value("count") }),
  bytes: () => step({ do: "bytes", text: value("bytes") }),
  wait: () => step({ do: "wait", seconds: value("seconds") }),
  leave: () => step({ do: "leave" }),
  begin,
};

// An example: one step at each press of the button.
let title, next, length;
function choose(name) {
  title = name;
  next = 0;
  length = page.length(name);
  begin();
  part("next").disabled = false;
}
function proceed() {
  show(page.example(title, next++));
  part("next").disabled = next === length;
}

async function start() {
  const { loadPyodide } = await import(new URL(`${base}pyodide/pyodide.mjs`, document.baseURI));
  const python = await loadPyodide();
  const archive = await fetch(`${base}specification.zip`);
  python.unpackArchive(await archive.arrayBuffer(), "zip", { extractDir: "/specification" });
  python.runPython("import sys; sys.path.insert(0, '/specification')");
  page = python.runPython("from scache_docs.play import Page; from scache_docs.what_if import WHAT_IF; Page(WHAT_IF)");
  for (const name of JSON.parse(page.examples())) part("example").append(new Option(name));
  const more = element("optgroup");
  more.label = "What happens if …";
  for (const name of JSON.parse(page.more())) more.append(new Option(name));
  part("example").append(more);
  for (const button of place.querySelectorAll("button[data-do]"))
    button.addEventListener("click", () => deeds[button.dataset.do]());
  part("example").addEventListener("change", () => choose(value("example")));
  part("next").addEventListener("click", proceed);
  const wanted = decodeURIComponent(location.hash.slice(1));
  if ([...part("example").options].some((option) => option.value === wanted)) part("example").value = wanted;
  choose(value("example"));
  part("loading").hidden = true;
  part("controls").hidden = false;
  place.dataset.ready = "yes";
}

if (location.protocol === "file:") {
  part("loading").textContent =
    "A browser starts no Python in a page that was opened as a file. The command \"make docs-serve\" serves the site on this machine.";
} else {
  start().catch((error) => {
    part("loading").textContent = `The specification could not be started: ${error.message}`;
    throw error;
  });
}
