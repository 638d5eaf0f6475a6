// Keeps pages up to date while they are open. What it shows comes from the server as pieces of the page; what steps print
// only ever becomes text. Pages can be read and used without it.
"use strict";

const policy = window.trustedTypes?.createPolicy("kiln", { createHTML: (text) => text });
// The one place where text of the server becomes markup.
const parsed = (text) => {
  const holder = document.createElement("template");
  holder.innerHTML = policy ? policy.createHTML(text) : text;
  return holder.content;
};
const by = (id) => document.getElementById(id);
const main = () => by("main");

// ---- Words

// Readers of screens are told no more often than they can hear; of what came meanwhile, the last.
const QUIET = 3000;
let said = { text: "", timer: 0 };
const told = (text) => {
  if (!text) return;
  said.text = text;
  if (said.timer) return;
  by("said").textContent = said.text;
  said.text = "";
  said.timer = setTimeout(() => {
    said.timer = 0;
    told(said.text);
  }, QUIET);
};
const duration = (ms) => {
  const s = Math.round(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  if (ms < 9950 && Math.round(ms / 100) % 10) return (Math.round(ms / 100) / 10).toFixed(1) + "s";
  if (s < 60) return s + "s";
  if (s < 3600) return Math.floor(s / 60) + "m" + two(s % 60) + "s";
  return Math.floor(s / 3600) + "h" + two(Math.floor((s % 3600) / 60)) + "m";
};
// As the server writes sizes.
const bytes = (n) => {
  let unit = 0;
  for (; n >= 999.5 && unit < 4; unit += 1) n /= 1000;
  return (unit && n < 9.95 ? n.toFixed(1) : n.toFixed(0)) + " " + ["B", "kB", "MB", "GB", "TB"][unit];
};
const format = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const localise = (root) => {
  for (const time of root.querySelectorAll("time")) time.textContent = format.format(new Date(time.dateTime));
};

// ---- Streams that heal

let broken = new Set();
const showLink = async (name, isBroken) => {
  const before = broken.size;
  isBroken ? broken.add(name) : broken.delete(name);
  const note = by("link");
  if (broken.size) {
    note.textContent = "The connection is lost. What you see may be old; trying again…";
    note.hidden = false;
  } else if (before) {
    note.hidden = true;
    told("Connected again.");
  }
};

// Follows a stream of the server from `last` on; after a break, and when someone looks again, from where it was.
const follow = (address, last, hear) => {
  let source = null;
  let timer = 0;
  let waits = 500;
  let over = false;
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const open = () => {
    close();
    if (over || document.hidden) return;
    source = new EventSource(address(last));
    source.onopen = () => {
      waits = 500;
      showLink(address, false);
    };
    source.onerror = () => {
      close();
      showLink(address, true);
      timer = setTimeout(open, waits);
      waits = Math.min(waits * 2, 10000);
      signedOut();
    };
    for (const [kind, take] of Object.entries(hear)) {
      source.addEventListener(kind, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        if (kind === "end") end();
        take(event.data ? JSON.parse(event.data) : {}, event.lastEventId);
      });
    }
  };
  const look = () => (document.hidden ? close() : open());
  const end = () => {
    over = true;
    close();
    document.removeEventListener("visibilitychange", look);
    showLink(address, false);
  };
  document.addEventListener("visibilitychange", look);
  open();
  return { end, go: open, rest: close };
};

// A server that began anew does not know this browser any more.
const signedOut = async () => {
  const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" }).catch(() => null);
  if (answer?.type !== "opaqueredirect") return;
  const note = by("link");
  const again = document.createElement("a");
  again.href = location.href;
  again.textContent = "Sign in again";
  note.replaceChildren("The server knows this browser no more. ", again);
  note.hidden = false;
};

// ---- Pieces of the page

const isSameLog = (old, fresh) => {
  const command = (panel) => panel.querySelector(".command")?.textContent;
  return reader?.panel === old && reader.isRead() && old.dataset.step === fresh.dataset.step && command(old) === command(fresh);
};
// What is as it was stays the element that it was: a button that is pressed just now is not taken away.
const renew = (old, fresh) => {
  if (old.isEqualNode(fresh)) return;
  // The window on a log begins anew, unless someone reads further up in it.
  if (old.id === "log") return void (isSameLog(old, fresh) || old.replaceWith(fresh));
  const all = (item) => item.children.length && item.children.length === item.childNodes.length;
  if (!all(old) || !all(fresh) || old.nodeName !== fresh.nodeName || old.children.length !== fresh.children.length) {
    old.replaceWith(fresh);
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const [before, now] = [[...old.children], [...fresh.children]];
  before.forEach((child, i) => renew(child, now[i]));
};
const swap = (pieces) => {
  const focused = document.activeElement?.id;
  for (const piece of pieces) {
    const fresh = parsed(piece).firstElementChild;
    const old = fresh && by(fresh.id);
    if (!old) continue;
    localise(fresh);
    renew(old, fresh);
  }
  if (focused && document.activeElement?.id !== focused) by(focused)?.focus({ preventScroll: true });
};
const paint = (items) => {
  for (const [id, kind, note] of items) {
    const item = by(id);
    if (!item) continue;
    const chosen = item.classList.contains("chosen") ? " chosen" : "";
    item.setAttribute("class", kind + chosen);
    const text = item.querySelector(":scope > .note");
    if (text) text.textContent = note;
  }
};

// The page anew, where it has come to be another one.
const refresh = async () => {
  const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return;
  const page = parsed(await answer.text());
  const fresh = page.querySelector("#main");
  if (!fresh) return;
  document.title = page.querySelector("title").textContent;
  const focused = document.activeElement?.id;
  localise(fresh);
  const was = place(canvas());
  renew(main(), fresh);
  begin(was);
  if (focused) by(focused)?.focus({ preventScroll: true });
};

// ---- Time goes on

// The axis is made longer when time has come to its end.
const stretch = (axis, now) => {
  const scale = Number(axis?.dataset.scale);
  if (!scale || now <= scale) return scale;
  axis.dataset.scale = scale * 2;
  [...axis.children].forEach((mark, i) => (mark.textContent = i ? duration((scale * i) / 2) : "0"));
  rescale();
  return scale * 2;
};
let clock = null;
const tick = () => {
  const summary = by("summary");
  const axis = by("axis");
  if (!summary?.dataset.now) return;
  if (clock?.of !== summary.dataset.now) clock = { of: summary.dataset.now, at: performance.now() - Number(summary.dataset.now) };
  const now = performance.now() - clock.at;
  const scale = stretch(axis, now);
  for (const item of document.querySelectorAll("[data-since]")) {
    const span = Math.max(0, now - Number(item.dataset.since));
    if (item instanceof SVGElement) item.setAttribute("width", Math.min(span, scale));
    else item.textContent = duration(span);
  }
};
const rescale = () => {
  const scale = by("axis")?.dataset.scale;
  if (!scale) return;
  for (const bar of document.querySelectorAll("svg.bar")) {
    const view = "0 0 " + scale + " 12";
    if (bar.getAttribute("viewBox") !== view) bar.setAttribute("viewBox", view);
  }
};

// ---- A log: a window on a part of it

const WINDOW = 384 * 1024;
const PART = 64 * 1024;
const escapes = /\x1b\[([0-9;]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b./g;

// As the server shows them: what turns the direction of writing is spelled out, and a line that is begun again is a new one.
const steers = /[\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const harmless = (text) =>
  text.replace(/\r\n?/g, "\n").replace(steers, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}").replace(/[\0-\x08\x0b-\x1f\x7f-\x9f]/g, "");

// Text with the colours of a terminal, as spans.
const coloured = (text, style) => {
  const part = document.createElement("span");
  const put = (raw) => {
    const piece = harmless(raw);
    if (!piece) return;
    if (!style.color && !style.bold) return part.append(piece);
    const span = document.createElement("span");
    span.className = [style.color && "ansi-" + style.color, style.bold && "ansi-b"].filter(Boolean).join(" ");
    span.append(piece);
    part.append(span);
  };
  let at = 0;
  for (const found of text.matchAll(escapes)) {
    put(text.slice(at, found.index));
    at = found.index + found[0].length;
    if (found[1] === undefined) continue;
    const codes = found[1].split(";").map(Number);
    while (codes.length) {
      const code = codes.shift();
      if (code === 0) style.color = style.bold = 0;
      else if (code === 1) style.bold = 1;
      else if (code === 22) style.bold = 0;
      // One of very many colours, with what says which.
      else if (code === 38 || code === 48) codes.splice(0, { 5: 2, 2: 4 }[codes[0]] ?? 1);
      else if (code >= 30 && code <= 37) style.color = code - 30;
      else if (code === 39) style.color = 0;
      else if (code >= 90 && code <= 97) style.color = code - 90 || 8;
    }
  }
  put(text.slice(at));
  return part;
};

let reader = null;
const readLog = (panel) => {
  if (reader && reader.panel === panel) return;
  reader?.rest();
  reader = null;
  if (!panel?.dataset.source) return;
  const text = by("log-text");
  const source = panel.dataset.source;
  const earlier = by("log-earlier");
  const button = by("log-follow");
  const style = {};
  let parts = [{ from: Number(panel.dataset.from), to: Number(panel.dataset.to), node: document.createElement("span") }];
  parts[0].node.append(...text.childNodes);
  text.append(parts[0].node);
  let waiting = [];
  let stream = null;
  let over = !("follow" in panel.dataset);
  // So long the log was at some time: whoever reads further up does not make it shorter.
  let whole = Number(panel.dataset.to);
  const first = () => parts[0].from;
  const last = () => parts[parts.length - 1].to;
  const atEnd = () => text.scrollHeight - text.scrollTop - text.clientHeight < 24;
  const toEnd = () => (text.scrollTop = text.scrollHeight);
  const size = () => last() - first();

  const head = () => {
    const gap = by("log-gap");
    gap.hidden = first() === 0;
    gap.textContent = bytes(first()) + " before this are not shown.";
    if (last()) by("log-size").textContent = bytes(Math.max(last(), whole));
    earlier.hidden = first() === 0;
    by("log-empty").hidden = size() > 0;
    text.hidden = size() === 0;
    button.hidden = over && size() < WINDOW;
    button.setAttribute("aria-pressed", String(stream !== null));
  };
  const cut = (front) => {
    while (parts.length > 1 && size() > WINDOW) {
      const gone = front ? parts.shift() : parts.pop();
      gone.node.remove();
    }
  };
  // What came since the last frame is shown at once, and only as much of it as is kept.
  const show = () => {
    const pieces = waiting;
    waiting = [];
    // Of more than is kept, only the end came: what was shown before does not go on with it.
    if (pieces.length && pieces[0].from > last()) clear(pieces[0].from);
    for (const piece of pieces) {
      piece.node = coloured(piece.text, style);
      text.append(piece.node);
      parts.push(piece);
    }
    cut(true);
    head();
    toEnd();
  };
  // Small pieces become one; of more than a window, those at the front are not kept.
  const take = (piece) => {
    const before = waiting[waiting.length - 1];
    if (!before) requestAnimationFrame(show);
    if (before && piece.to - before.from <= PART) {
      before.text += piece.text;
      before.to = piece.to;
    } else waiting.push(piece);
    while (waiting.length > 1 && piece.to - waiting[1].from >= WINDOW) waiting.shift();
  };
  const clear = (at) => {
    waiting = [];
    parts = [{ from: at, to: at, node: document.createElement("span") }];
    text.replaceChildren(parts[0].node);
    head();
  };
  const go = () => {
    if (stream || over) return;
    let place = last();
    stream = follow((id) => source + "&follow=true&lag=" + WINDOW + "&offset=" + id, String(place), {
      log: (piece, id) => {
        take({ from: place, to: Number(id), text: piece });
        whole = place = Number(id);
      },
      skip: (_, id) => clear((place = Number(id))),
      end: () => {
        over = true;
        stream = null;
        requestAnimationFrame(head);
      },
    });
    toEnd();
    head();
  };
  const rest = () => {
    stream?.end();
    stream = null;
  };
  // Someone who reads further up is left in peace.
  text.addEventListener("scroll", () => {
    if (stream && !waiting.length && !atEnd()) {
      rest();
      head();
    } else if (!stream && atEnd()) go();
  });
  button.addEventListener("click", async () => {
    if (stream) return rest(), head();
    if (over) {
      const answer = await fetch(source + "&offset=" + last() + "&limit=" + WINDOW);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      take({ from: last(), to: last() + bytes.length, text: new TextDecoder().decode(bytes) });
    }
    go();
    toEnd();
  });
  earlier.addEventListener("click", async () => {
    rest();
    const to = first();
    const from = Math.max(0, to - PART);
    const answer = await fetch(source + "&offset=" + from + "&limit=" + (to - from));
    if (!answer.ok) return;
    let bytes = new Uint8Array(await answer.arrayBuffer());
    // From the first whole line on; of a line that is longer than the part, from its first whole letter on.
    let line = from ? bytes.indexOf(10) + 1 : 0;
    if (from && (line === 0 || line === bytes.length)) for (line = 0; line < 3 && (bytes[line] & 0xc0) === 0x80; ) line += 1;
    bytes = bytes.subarray(line);
    const node = coloured(new TextDecoder().decode(bytes), {});
    const before = text.scrollHeight;
    text.prepend(node);
    parts.unshift({ from: from + line, to, node });
    cut(false);
    text.scrollTop += text.scrollHeight - before;
    head();
  });
  reader = { panel, rest, isOver: () => over, isRead: () => size() > 0 && !atEnd() };
  toEnd();
  head();
  go();
};

// Without a step that was chosen, the log is that of a step at work: when one has ended, another one's.
const turnTo = async (step) => {
  const panel = by("log");
  const page = new URL(location.href);
  if (!step || !panel || page.searchParams.has("step") || panel.dataset.step === step) return;
  if (reader && !reader.isOver()) return;
  page.searchParams.set("part", "log");
  const answer = await fetch(page, { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return;
  swap([await answer.text()]);
  readLog(by("log"));
};

// ---- The picture

// Where the view on a picture begins that is larger than its room: at what failed, runs, or is out of date, else at the first.
const AIMS = [".failed", ".running, .retrying, .publishing", ".build", ".maybe, .ask", "[data-step], .group"];
const inside = (a, b) => a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom;
const canvas = () => document.querySelector(".picture .canvas");
let aimed = null;
const place = (room) => room && [room.scrollLeft, room.scrollTop];
const aim = (was) => {
  const room = canvas();
  if (!room || aimed?.room === room) return;
  // Whoever has looked around in the one before goes on from there.
  if (was && aimed && String(was) !== String(aimed.at)) [room.scrollLeft, room.scrollTop] = was;
  else {
    const found = AIMS.map((kind) => [...room.querySelectorAll("svg > g > :is(.step, .group)")].find((item) => item.matches(kind)));
    const target = found.find(Boolean)?.querySelector(".shape").getBoundingClientRect();
    const view = room.getBoundingClientRect();
    if (target && !inside(target, view)) {
      room.scrollLeft += target.left + target.width / 2 - (view.left + view.width / 2);
      room.scrollTop += target.top + target.height / 2 - (view.top + view.height / 2);
    }
  }
  aimed = { room, at: place(room) };
};

// ---- Pages

let news = null;
const hearNews = () => {
  news?.end();
  news = null;
  const live = main().dataset.live;
  if (!live) return;
  const url = new URL(live, location.href);
  const address = (id) => {
    if (id) url.searchParams.set("from", id);
    return url.pathname + url.search;
  };
  news = follow(address, url.searchParams.get("from") ?? "", {
    news: (data) => {
      swap(data.swap);
      paint(data.paint ?? []);
      rescale();
      tick();
      told(data.said);
      turnTo(data.log);
    },
    again: refresh,
    end: () => {
      if (by("summary")) refresh();
    },
  });
};

// A step in the picture leads where its row leads; in the flow it is picked.
const point = (event) => {
  const item = event.target.closest?.("[data-step]");
  if (!item) return;
  const name = item.dataset.step;
  const box = document.querySelector("input[type=checkbox][value=" + CSS.escape(name) + "]");
  if (box) {
    box.checked = !box.checked;
    box.dispatchEvent(new Event("change", { bubbles: true }));
  } else by("open-" + name)?.click();
};
const pick = () => {
  const ticked = [];
  for (const box of document.querySelectorAll(".plan input[type=checkbox]")) {
    by("step-" + box.value)?.classList.toggle("chosen", box.checked);
    if (box.checked) ticked.push(box.value);
  }
  if (!by("ticked")) return;
  const few = Number(by("ticked").dataset.few);
  const more = ticked.length > few ? " and " + (ticked.length - few) + " more" : "";
  by("unticked").hidden = ticked.length > 0;
  by("ticked").textContent = ticked.length ? "Ticked: " + ticked.slice(0, few).join(", ") + more + "." : "";
};
const find = (box) => {
  box.hidden = false;
  box.addEventListener("input", () => {
    const wanted = box.value.trim().toLowerCase();
    for (const row of document.querySelectorAll("#steps tr, #steps-more tr")) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    }
    const more = by("more");
    if (more && wanted) more.open = true;
  });
  // It finds, it does not send the form.
  box.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
};

const begin = (was) => {
  localise(document);
  aim(was);
  readLog(by("log"));
  hearNews();
  pick();
  if (by("find")) find(by("find"));
};
document.addEventListener("click", point);
document.addEventListener("change", pick);
begin();
setInterval(tick, 500);
