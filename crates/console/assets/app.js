// The live page. Whatever users and functions wrote is put into text nodes, never into markup.
"use strict";

const $ = id => document.getElementById(id);
const ROWS = 50, LINES = 1000;

function cell(text, className) {
  const td = document.createElement("td");
  td.textContent = text;
  if (className) td.className = className;
  return td;
}
function row(...cells) {
  const tr = document.createElement("tr");
  tr.append(...cells);
  return tr;
}
const ms = us => us < 1000 ? `${us} µs` : us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(2)} s`;
const mib = bytes => bytes ? `${(bytes / 1048576).toFixed(1)} MiB` : "–";
const micros = d => d ? d.secs * 1e6 + d.nanos / 1000 : 0;
const age = s => s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;

function url(address) {
  const td = cell("", "long");
  if (address && /^http:\/\/[a-z0-9.-]+(:\d+)?\/$/.test(address)) {
    const a = document.createElement("a");
    a.href = address;
    a.rel = "noreferrer noopener";
    a.target = "_blank";
    a.textContent = address;
    td.append(a);
  }
  return td;
}

function showSnapshot(s) {
  $("where").textContent = `${s.account} · ${s.region} · ${s.endpoint}`;
  $("functions").replaceChildren(...s.functions.map(f => row(
    cell(f.name, "long"), cell(f.runtime), cell(`${f.memory_mib} MB`, "n"), cell(f.versions, "n"), cell(f.usage.invocations, "n"),
    cell(f.usage.errors, f.usage.errors ? "n bad" : "n"), cell(f.usage.cold_starts, "n"), cell(f.usage.gb_seconds.toFixed(3), "n"), url(f.urls[0]))));
  $("no-functions").hidden = s.functions.length > 0;
  const instances = s.observed.instances.sort((a, b) => a.id < b.id ? -1 : 1);
  $("instances").replaceChildren(...instances.map(i => row(
    cell(i.id.slice(0, 8), "mono"), cell(i.function, "long"), cell(i.version), cell(i.tier), cell(i.provisioned ? `${i.state}, provisioned` : i.state),
    cell(mib(i.memory_bytes), "n"), cell(age(i.age.secs), "n"), cell(i.calls, "n"))));
  $("no-instances").hidden = instances.length > 0;
  choices(s.functions.map(f => f.name));
}

function bar(steps) {
  const parts = [["queued", steps.queued_us], ["sandbox", steps.sandbox_us], ["init", steps.init_us], ["run", steps.run_us]];
  const all = parts.reduce((sum, p) => sum + p[1], 0) || 1;
  const div = document.createElement("div");
  div.className = "bar";
  div.title = parts.map(([name, us]) => `${name} ${ms(us)}`).join(", ");
  for (const [name, us] of parts) {
    const i = document.createElement("i");
    i.className = name;
    i.style.flexGrow = String(us / all);
    div.append(i);
  }
  const td = document.createElement("td");
  td.append(div);
  return td;
}

function invocation(r) {
  const cold = r.usage.init ? "cold" : "warm";
  return row(cell(new Date(r.started_ms).toLocaleTimeString()), cell(r.function, "long"), cell(`${r.status}, ${cold}`, r.status === "ok" ? "" : "bad"),
    bar(r.steps), cell(ms(micros(r.usage.duration)), "n"), cell(`${Math.max(1, Math.ceil(micros(r.usage.duration) / 1000))} ms`, "n"),
    cell(mib(r.usage.memory_max_bytes), "n"), cell(r.id, "mono"));
}
function addInvocation(r) {
  const body = $("invocations");
  body.prepend(invocation(r));
  while (body.children.length > ROWS) body.lastElementChild.remove();
}

let log = null, chosen = "";
function choices(names) {
  const which = $("which");
  const now = [...which.options].map(o => o.value);
  if (now.length !== names.length || now.some((n, i) => n !== names[i])) {
    which.replaceChildren(...names.map(n => new Option(n, n)));
    if (names.includes(chosen)) which.value = chosen;
  }
  if (which.value !== chosen) follow(which.value);
}
function follow(name) {
  chosen = name;
  log?.close();
  $("log").replaceChildren();
  if (!name) return;
  log = new EventSource(`/logs?function=${encodeURIComponent(name)}`);
  log.addEventListener("open", () => $("log").replaceChildren());
  log.addEventListener("line", e => {
    const pre = $("log"), line = JSON.parse(e.data), atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
    const time = line.at_ms ? new Date(line.at_ms).toISOString().slice(11, 23) + "  " : "";
    pre.append(document.createTextNode(time + line.text + "\n"));
    while (pre.childNodes.length > LINES) pre.firstChild.remove();
    if (atEnd) pre.scrollTop = pre.scrollHeight;
  });
}
$("which").addEventListener("change", e => follow(e.target.value));

const events = new EventSource("/events");
events.addEventListener("open", () => { $("link").textContent = "live"; $("link").className = ""; });
events.addEventListener("error", () => { $("link").textContent = "connection lost, trying again …"; $("link").className = "lost"; });
events.addEventListener("snapshot", e => showSnapshot(JSON.parse(e.data)));
events.addEventListener("recent", e => $("invocations").replaceChildren(...JSON.parse(e.data).map(invocation)));
events.addEventListener("invocation", e => addInvocation(JSON.parse(e.data)));
