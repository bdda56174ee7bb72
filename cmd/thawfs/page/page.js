"use strict";
// Draws what /events tells. Text from the mount is only ever set as text, never as HTML.

const at = (id) => document.getElementById(id);
const set = (id, text) => { if (at(id).textContent !== text) at(id).textContent = text; };

function size(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  for (n = Math.max(n, 0); n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return (i > 0 && n < 10 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
}
const number = (n) => n.toLocaleString("en");
const files = (n, what) => number(n) + " " + (n === 1 ? what : what + "s");

function span(seconds) {
  seconds = Math.max(seconds, 0);
  if (seconds < 120) return Math.round(seconds) + " s";
  if (seconds < 7200) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " days";
}
const since = (time, now) => span((now - new Date(time)) / 1000);
const clock = (time) => new Date(time).toLocaleString([], { dateStyle: "short", timeStyle: "short" });

// rows fills a table: each row is an array of [text, class], or a string that is an error.
function rows(id, list) {
  at(id).replaceChildren(...list.map((cells) => {
    const tr = document.createElement("tr");
    if (typeof cells === "string") {
      tr.className = "error";
      cells = [[cells, "path"]];
    }
    for (const [text, kind] of cells) {
      const td = document.createElement("td");
      td.textContent = text;
      td.className = kind || "";
      if (tr.className) td.colSpan = 9;
      tr.append(td);
    }
    return tr;
  }));
}

const keep = 5 * 60; // seconds
let samples = [];

function traffic(s) {
  if (s.requests.length === 0) return [s.stored.bytes, s.cache.fetched];
  return [s.requests.reduce((n, r) => n + r.sent, 0), s.requests.reduce((n, r) => n + r.received, 0)];
}

function rates() {
  const all = [];
  for (let i = 1; i < samples.length; i++) {
    const secs = samples[i].at - samples[i - 1].at;
    if (secs > 0) {
      all.push({
        at: samples[i].at,
        up: Math.max(0, samples[i].sent - samples[i - 1].sent) / secs,
        down: Math.max(0, samples[i].received - samples[i - 1].received) / secs,
      });
    }
  }
  return all;
}

function chart() {
  const all = rates();
  const last = all.at(-1) || { up: 0, down: 0, at: 0 };
  const top = Math.max(1024, ...all.map((r) => Math.max(r.up, r.down)));
  const wide = Math.min(keep, Math.max(60, all.length ? last.at - all[0].at : 0)); // seconds
  const path = (kind) => all.map((r, i) => (i ? "L" : "M") +
    (600 - (last.at - r.at) / wide * 600).toFixed(1) + " " + (136 - r[kind] / top * 130).toFixed(1)).join("");
  const line = (kind, d) => {
    const p = document.createElementNS("http://www.w3.org/2000/svg", "path");
    p.setAttribute("class", kind);
    p.setAttribute("d", d);
    return p;
  };
  at("chart").replaceChildren(line("grid", "M0 6H600M0 71H600"), line("down", path("down")), line("up", path("up")));
  set("up", size(last.up) + "/s");
  set("down", size(last.down) + "/s");
  set("scale", size(top) + "/s");
  set("window", "last " + span(wide));
}

function uploads(p, now) {
  set("pending", p.files === 0 ? "Nothing waits" : files(p.files, "change") + ", " + size(p.bytes));
  at("pending").className = p.failed ? "big bad" : "big";
  let more = size(p.staged) + " of " + size(p.capacity) + " of the local disk";
  if (p.files > 0) more = "The oldest for " + since(p.oldest, now) + (p.failed ? ", " + p.failed + " failed" : "") + " · " + more;
  set("pending-more", more);
  rows("uploads", p.items.flatMap((u) => {
    const state = u.sending ? "sending" : u.error ? "failed" : u.what === "upload" ? "waits" : u.what;
    const row = [[u.path, "path"], [state], [size(u.bytes), "n"], [since(u.since, now), "n"]];
    return u.error ? [row, u.error] : [row];
  }));
}

function recalls(s) {
  const r = s.recalls;
  const parts = [];
  if (r.on_their_way.objects) parts.push(files(r.on_their_way.objects, "file") + " on the way");
  if (r.failed) parts.push(r.failed + " failed");
  if (r.readable.objects) parts.push(number(r.readable.objects) + " readable");
  set("recalls", parts.join(", ") || "None");
  const b = s.budget;
  const limit = (n, text) => (n < 0 ? "unlimited" : text(n));
  set("budget", "Today " + number(b.objects) + " of " + limit(b.max_objects, number) + " files, " +
    size(b.bytes) + " of " + limit(b.max_bytes, size) + ", about " + b.cost.toFixed(2) + " " + s.currency);
  rows("jobs", s.jobs.flatMap((j) => {
    const when = j.eta ? "by " + clock(j.eta) : j.until ? "until " + clock(j.until) : "";
    const row = [[j.path, "path"], [j.phase], [size(j.size), "n"], [when, "n"]];
    return j.error ? [row, j.error] : [row];
  }));
}

function cache(c) {
  set("cache", size(c.bytes) + " of " + size(c.capacity));
  at("cache-bar").value = c.capacity ? c.bytes / c.capacity : 0;
  const reads = c.hits + c.misses;
  set("cache-more", files(c.files, "file") + (c.pinned ? ", " + size(c.pinned) + " pinned" : "") +
    (reads ? " · " + Math.round(100 * c.hit_ratio) + " % of reads answered from here" : "") +
    (c.corrupt ? " · " + c.corrupt + " damaged pieces fetched anew" : ""));
}

function requests(s) {
  const bad = s.requests.reduce((n, r) => n + r.failed + r.slowed, 0);
  set("errors", s.failures ? files(s.failures, "error") + " met by programs" : "No errors");
  at("errors").className = s.failures ? "big bad" : "big";
  set("errors-more", bad ? files(bad, "request") + " to the store failed and were tried again" : "");
  const head = [["request"], ["count", "n"], ["failed", "n"], ["mean", "n"]];
  rows("requests", s.requests.length === 0 ? [] : [head, ...s.requests.map((r) => [
    [r.op, "path"], [number(r.count), "n"], [number(r.failed + r.slowed), "n"],
    [r.count ? Math.round(r.time_ns / r.count / 1e6) + " ms" : "", "n"],
  ])]);
}

function health(state, text) {
  at("health").className = "health " + state + "-state";
  set("health-text", text);
}

function show(s) {
  const now = new Date(s.at);
  document.title = s.source + " – thawfs";
  set("source", s.source);
  set("where", "on " + s.mountpoint + (s.read_only ? ", read-only" : "") + ", since " + clock(s.since));
  const words = { up: "The store answers", troubled: "The store answers, with trouble", down: "The store does not answer" };
  health(s.store.state, words[s.store.state] + (s.store.error ? ": " + s.store.error + " (" + since(s.store.error_at, now) + " ago)" : ""));
  const [sent, received] = traffic(s);
  samples.push({ at: now / 1000, sent, received });
  samples = samples.filter((x) => now / 1000 - x.at <= keep);
  chart();
  uploads(s.pending, now);
  recalls(s);
  cache(s.cache);
  requests(s);
  set("version", "thawfs " + s.version);
}

const source = new EventSource("events");
source.addEventListener("history", (e) => {
  samples = JSON.parse(e.data).map((x) => ({ at: new Date(x.at) / 1000, sent: x.sent, received: x.received }));
});
source.addEventListener("status", (e) => show(JSON.parse(e.data)));
source.addEventListener("error", () => health("gone", "No connection: the mount has ended, or this machine is not reached"));
