// The live page. Whatever users and functions wrote is put into text nodes, never into markup.
"use strict";

const $ = id => document.getElementById(id);
const ROWS = 50, LINES = 1000, AGAIN_MS = 2000;

const ms = us => us < 1000 ? `${us} µs` : us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(2)} s`;
const step = us => us ? ms(us) : "–";
const mib = bytes => bytes ? `${(bytes / 1048576).toFixed(1)} MiB` : "–";
const micros = d => d ? d.secs * 1e6 + d.nanos / 1000 : 0;
const two = n => String(n).padStart(2, "0");
const clock = at => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
const age = s => s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;

// A cell is a text or a number, or { text, as, href, parts }: its class, where it leads, a bar's parts.
const number = (text, more) => ({ text, as: more ? `n ${more}` : "n" });
function make(cell) {
  const td = document.createElement("td");
  const { text, as, href, parts } = typeof cell === "object" ? cell : { text: cell };
  if (as) td.className = as;
  if (parts) td.append(bar(parts));
  else if (/^http:\/\/[a-z0-9.-]+(:\d+)?\/$/.test(href ?? "")) td.append(link(href));
  else td.textContent = text ?? "";
  if (as === "long") td.title = text ?? "";
  return td;
}
function link(href) {
  const a = document.createElement("a");
  a.href = a.textContent = href;
  a.rel = "noreferrer noopener";
  a.target = "_blank";
  return a;
}
function bar(parts) {
  const div = document.createElement("div");
  div.className = "bar";
  div.setAttribute("aria-hidden", "true");
  for (const [name, us] of parts) {
    const i = document.createElement("i");
    i.className = name;
    i.style.flexGrow = String(us);
    div.append(i);
  }
  return div;
}
// Cells that say already what they should are left alone, so that a selection or the focus in them stays.
function fill(tr, cells) {
  cells.forEach((cell, i) => {
    const says = JSON.stringify(cell), old = tr.cells[i];
    if (old?.says === says) return;
    const td = make(cell);
    td.says = says;
    if (old) old.replaceWith(td); else tr.append(td);
  });
}
function table(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, r) => fill(body.rows[r] ?? body.insertRow(), cells));
}

function showSnapshot(s) {
  $("where").textContent = `account ${s.account} · ${s.region} · ${s.endpoint}`;
  table($("functions"), s.functions.map(f => [
    { text: f.name, as: "long" }, f.runtime, number(`${f.memory_mib} MB`), number(f.versions), number(f.usage.invocations),
    number(f.usage.errors, f.usage.errors ? "bad" : ""), number(f.usage.cold_starts), number(f.usage.gb_seconds.toFixed(3)), { href: f.urls[0] }]));
  $("no-functions").hidden = s.functions.length > 0;
  const instances = s.observed.instances.sort((a, b) => a.id < b.id ? -1 : 1);
  table($("instances"), instances.map(i => [
    { text: i.id.slice(0, 8), as: "mono" }, { text: i.function, as: "long" }, i.version, i.tier,
    i.provisioned ? `${i.state}, provisioned` : i.state, number(mib(i.memory_bytes)), number(age(i.age.secs)), number(i.calls)]));
  $("no-instances").hidden = instances.length > 0;
  choices(s.functions.map(f => f.name));
}

function invocation(r) {
  const { queued_us, sandbox_us, init_us, run_us } = r.steps;
  const tr = document.createElement("tr");
  tr.dataset.key = `${r.id} ${r.started_ms}`;
  fill(tr, [
    clock(new Date(r.started_ms)), { text: r.function, as: "long" }, { text: r.status, as: r.status === "ok" ? "" : "bad" },
    r.usage.init ? "cold" : "warm", { parts: [["queued", queued_us], ["sandbox", sandbox_us], ["init", init_us], ["run", run_us]] },
    number(step(queued_us)), number(step(sandbox_us)), number(step(init_us)), number(step(run_us)),
    number(`${Math.max(1, Math.ceil(micros(r.usage.duration) / 1000))} ms`), number(mib(r.usage.memory_max_bytes)), { text: r.id, as: "mono" }]);
  return tr;
}
function showRecent(records) {
  $("invocations").replaceChildren(...records.map(invocation));
  $("no-invocations").hidden = records.length > 0;
}
function addInvocation(r) {
  const body = $("invocations"), tr = invocation(r);
  if ([...body.rows].some(old => old.dataset.key === tr.dataset.key)) return;
  body.prepend(tr);
  while (body.rows.length > ROWS) body.deleteRow(-1);
  $("no-invocations").hidden = true;
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
function addLine(line) {
  const pre = $("log"), atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
  const time = line.at_ms ? `${clock(new Date(line.at_ms))}.${String(line.at_ms % 1000).padStart(3, "0")}  ` : "";
  pre.append(document.createTextNode(time + line.text + "\n"));
  while (pre.childNodes.length > LINES) pre.firstChild.remove();
  if (atEnd) pre.scrollTop = pre.scrollHeight;
}
function follow(name) {
  chosen = name;
  log?.close();
  $("log").replaceChildren();
  if (!name) return;
  log = new EventSource(`/logs?function=${encodeURIComponent(name)}`);
  log.addEventListener("open", () => $("log").replaceChildren());
  log.addEventListener("line", e => addLine(JSON.parse(e.data)));
}
$("which").addEventListener("change", e => follow(e.target.value));

function say(text, lost) {
  $("link").textContent = text;
  $("link").className = lost ? "lost" : "";
}
function connect() {
  const events = new EventSource("/events");
  const again = () => { events.close(); setTimeout(connect, AGAIN_MS); };
  events.addEventListener("open", () => { say("live"); follow(chosen); });
  events.addEventListener("error", async () => {
    say("connection lost, trying again …", true);
    if (events.readyState !== EventSource.CLOSED) return;
    // Refused: the login has ended, with the platform or with its time; or it is only starting.
    const status = await fetch("/app.css").then(r => r.status, () => 0);
    if (status === 401) say("logged out; get a new link with: myna open", true); else again();
  });
  events.addEventListener("snapshot", e => showSnapshot(JSON.parse(e.data)));
  events.addEventListener("recent", e => showRecent(JSON.parse(e.data)));
  events.addEventListener("invocation", e => addInvocation(JSON.parse(e.data)));
  events.addEventListener("missed", again);
}
connect();
