// The operators' board: a client of the public live API like any other. Tokens are in memory and nowhere else.
// EventSource cannot bring a token, so the stream is read by hand, and its silence is noticed by hand, too.
"use strict";

// Two heartbeats of 2 s: whoever is silent for longer is not there. With the look below still within five seconds.
const SILENCE_MAX_MS = 4300;
const LOOK_EVERY_MS = 250;
const RETRY_MS = [300, 1000, 2000, 4000];
// Couriers say where they are every 4 s.
const POSITION_MAX_MS = 30_000;
// Food points farther apart than this are on different maps.
const AREA_M = 60_000;
const STAGES = [
  ["created", "Created"], ["paid", "Paid"], ["assigned", "In the kitchen"], ["ready", "Ready"], ["in_delivery", "On the road"],
];
const CLOSED_BY = { staff: "by its people", missed_tickets: "after two unanswered tickets" };

const $ = (id) => document.getElementById(id);
const board = { counts: {}, kitchens: new Map(), couriers: new Map(), positions: new Map(), health: null };
let session = null;
let lastEventId = null;
let heardAt = 0;
let connection = null;
let failures = 0;
let area = null;
let drawing = false;

// --- who asks

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.title || "refused"), { status: response.status });
  return answer;
}

function keep(answer) {
  session = { access: answer.access_token, refresh: answer.refresh_token, until: Date.now() + answer.expires_in_s * 1000 };
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("refused").hidden = true;
  try {
    const answer = await post("/v1/sessions", { email: $("email").value, password: $("password").value });
    if (answer.role !== "operator") throw new Error("This page is for operators.");
    keep(answer);
    $("password").value = "";
    $("login").hidden = true;
    $("board").hidden = false;
    follow();
  } catch (error) {
    $("refused").textContent = error.status === 401 ? "E-mail or password is wrong." : error.message;
    $("refused").hidden = false;
  }
});

async function access() {
  if (Date.now() > session.until - 30_000) keep(await post("/v1/sessions/refresh", { refresh_token: session.refresh }));
  return session.access;
}

function signOut() {
  session = null;
  lastEventId = null;
  tell("out", "Signed out");
  $("board").hidden = true;
  $("login").hidden = false;
}

// --- the stream

function tell(state, text) {
  if ($("link").textContent !== text) $("link").textContent = text;
  $("link").dataset.state = state;
  $("board").classList.toggle("stale", state === "lost");
}

async function follow() {
  while (session) {
    const abort = new AbortController();
    connection = abort;
    heardAt = performance.now();
    try {
      const headers = { authorization: `Bearer ${await access()}`, accept: "text/event-stream" };
      if (lastEventId) headers["last-event-id"] = lastEventId;
      const response = await fetch("/v1/ops/live", { headers, signal: abort.signal, cache: "no-store" });
      if (response.status === 401) session.until = 0;
      if (response.ok) await read(response.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch (error) {
      if (error.status === 401) return signOut();
    }
    if (!session) return;
    tell("lost", "Link lost, trying again");
    const pause = RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)];
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function read(reader) {
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heardAt = performance.now();
    failures = 0;
    tell("live", "Live");
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    blocks.forEach(take);
  }
}

// A half-open connection says nothing, not even that it is broken.
setInterval(() => {
  if (!session || performance.now() - heardAt < SILENCE_MAX_MS) return;
  tell("lost", "Link lost, trying again");
  connection?.abort();
  heardAt = performance.now();
}, LOOK_EVERY_MS);

function take(block) {
  let event = "message", data = "", id = null;
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) event = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
    else if (line.startsWith("id: ")) id = line.slice(4);
  }
  if (data) {
    HEARD[event]?.(JSON.parse(data));
    draw();
  }
  if (id) lastEventId = id;
}

const HEARD = {
  snapshot({ counts, documents }) {
    board.counts = { ...counts };
    board.kitchens.clear();
    board.couriers.clear();
    for (const pin of documents) marks(pin.kind)?.set(pin.id, pin);
  },
  change({ kind, stream, was, is }) {
    if (kind === "order") {
      if (was) board.counts[was.status] = Math.max(0, (board.counts[was.status] || 0) - 1);
      if (is) board.counts[is.status] = (board.counts[is.status] || 0) + 1;
    } else if (is) {
      marks(kind)?.set(stream, is);
    } else {
      marks(kind)?.delete(stream);
    }
  },
  positions(seen) {
    const now = performance.now();
    for (const one of seen) board.positions.set(one.courier, { place: one.place, at: now });
  },
  health(health) {
    board.health = health;
  },
};

function marks(kind) {
  return { kitchen: board.kitchens, courier: board.couriers }[kind];
}

// --- the page

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawOrders();
    drawPoints();
    drawCouriers();
    drawHealth();
    drawMap();
  });
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawOrders() {
  let total = 0;
  $("orders").replaceChildren(...STAGES.map(([status, name]) => {
    const count = board.counts[status] || 0;
    total += count;
    const stage = element("li", { "data-status": status, class: count ? "some" : "" });
    stage.append(element("b", {}, String(count)), element("span", {}, name));
    return stage;
  }));
  $("orders-total").textContent = total;
}

function drawPoints() {
  const points = [...board.kitchens].sort(([, a], [, b]) => b.busy / b.pool - a.busy / a.pool || a.name.localeCompare(b.name));
  $("points-total").textContent = points.length;
  $("points").replaceChildren(...points.map(([id, point]) => {
    const state = point.open ? `${point.busy} of ${point.pool}` : `closed ${CLOSED_BY[point.closed_by] || ""}`;
    const load = element("meter", { min: 0, max: point.pool, high: point.pool * 0.8, value: point.busy, "aria-label": `Load of ${point.name}` });
    return element("li", { "data-id": id, class: point.open ? "" : "shut" }, element("span", {}, point.name), element("small", {}, state), load);
  }));
}

function drawCouriers() {
  const all = [...board.couriers.values()];
  const busy = all.filter((courier) => courier.jobs > 0).length;
  $("couriers-total").textContent = all.length;
  $("couriers-busy").textContent = busy;
  $("couriers-free").textContent = all.length - busy;
  const stale = performance.now() - POSITION_MAX_MS;
  for (const [id, seen] of board.positions) if (seen.at < stale || !board.couriers.has(id)) board.positions.delete(id);
  $("couriers-seen").textContent = board.positions.size;
}

function drawHealth() {
  const health = board.health;
  if (!health) return;
  $("lag").textContent = health.lag;
  $("behind").replaceChildren(...Object.entries(health.behind).sort(([, a], [, b]) => b - a).slice(0, 5).map(([name, count]) =>
    element("li", { class: "row" }, name, element("small", {}, `${count} to go`))));
  $("dead").textContent = health.dead_letters;
  $("dead").classList.toggle("bad", health.dead_letters > 0);
  $("dead-text").textContent = health.dead_letters ? "The newest; each needs somebody to look." : "Nothing was given up.";
  $("letters").replaceChildren(...health.newest.map((letter) => element("li", {},
    `${letter.event_type || "an event"} of ${letter.stream || "a stream"}`,
    element("small", {}, `${letter.consumer}, ${new Date(letter.at).toLocaleTimeString()}: ${letter.error}`))));
}

// --- the map

const SVG = "http://www.w3.org/2000/svg";
const METRES_PER_E6 = 0.111195;

function drawn(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function metres(a, b) {
  const x = (a.lon_e6 - b.lon_e6) * Math.cos((a.lat_e6 / 1e6) * Math.PI / 180);
  return Math.hypot(x, a.lat_e6 - b.lat_e6) * METRES_PER_E6;
}

// Food points near each other, each group one map.
function areas() {
  const groups = [];
  for (const [id, point] of board.kitchens) {
    const near = groups.filter((group) => group.some((other) => metres(other.at, point.at) < AREA_M));
    const merged = near.flat();
    merged.push({ id, ...point });
    groups.splice(0, groups.length, ...groups.filter((group) => !near.includes(group)), merged);
  }
  return groups.sort((a, b) => b.length - a.length || a[0].id.localeCompare(b[0].id));
}

function named(group) {
  const country = group[0].country;
  try {
    return new Intl.DisplayNames(["en"], { type: "region" }).of(country);
  } catch {
    return country;
  }
}

function chooseArea(groups) {
  const options = groups.map((group) => ({ key: group.map((point) => point.id).sort()[0], text: `${named(group)} (${group.length})`, group }));
  const shown = [...$("area").options].map((option) => option.value + option.text).join();
  if (shown !== options.map((option) => option.key + option.text).join()) {
    $("area").replaceChildren(...options.map((option) => new Option(option.text, option.key)));
  }
  $("area-label").hidden = options.length < 2;
  const chosen = options.find((option) => option.key === area) || options[0];
  if (chosen) {
    area = chosen.key;
    $("area").value = area;
  }
  return chosen?.group || [];
}

$("area").addEventListener("change", (event) => {
  area = event.target.value;
  draw();
});
addEventListener("resize", draw);

function drawMap() {
  const map = $("map");
  const points = chooseArea(areas());
  const near = (place) => points.some((point) => metres(point.at, place) < AREA_M);
  const riders = [...board.positions].filter(([, seen]) => near(seen.place));
  const { width, height } = map.getBoundingClientRect();
  map.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const text = $("map-text");
  text.textContent = `${points.length} food points, ${points.filter((point) => !point.open).length} of them closed, and ${riders.length} couriers.`;
  if (!points.length || !width) return void map.replaceChildren(text);
  const onMap = view([...points.map((point) => point.at), ...riders.map(([, seen]) => seen.place)], width, height);
  const old = new Map([...map.querySelectorAll("[data-id]")].map((mark) => [mark.dataset.id, mark]));
  const placed = (id, kind, place, make) => {
    const [x, y] = onMap(place);
    const mark = old.get(id) || drawn("g", { "data-id": id, "data-kind": kind, class: "mark" });
    mark.replaceChildren(...make(width - x));
    // As a property, since the policy allows no style attributes and a transform attribute does not glide.
    mark.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
    return mark;
  };
  const kitchens = points.map((point) => placed(point.id, "kitchen", point.at, (room) => kitchen(point, room)));
  const couriers = riders.map(([id, seen]) => placed(id, "courier", seen.place, () => rider(id)));
  map.replaceChildren(text, ...ruler(onMap, width, height), ...kitchens, ...couriers);
}

// Everything fits, north is up, and a metre is as long in both directions.
function view(places, width, height) {
  const lats = places.map((place) => place.lat_e6), lons = places.map((place) => place.lon_e6);
  const middle = (values) => (Math.min(...values) + Math.max(...values)) / 2;
  const span = (values) => Math.max(...values) - Math.min(...values);
  const lat = middle(lats), lon = middle(lons), squeeze = Math.cos((lat / 1e6) * Math.PI / 180);
  const margin = 44;
  const scale = Math.min((width - 2 * margin) / Math.max(span(lons) * squeeze, 8000), (height - 2 * margin) / Math.max(span(lats), 8000));
  const onMap = (place) => [width / 2 + (place.lon_e6 - lon) * squeeze * scale, height / 2 - (place.lat_e6 - lat) * scale];
  onMap.perMetre = scale / METRES_PER_E6;
  return onMap;
}

function ruler(onMap, width, height) {
  const long = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000].find((long) => long * onMap.perMetre > 60) || 50_000;
  const length = long * onMap.perMetre, x = width - 14 - length, y = height - 14;
  return [
    drawn("path", { class: "grid", d: `M${x} ${y - 4}v4h${length}v-4` }),
    drawn("text", { class: "scale", x, y: y - 8 }, long < 1000 ? `${long} m` : `${long / 1000} km`),
  ];
}

function kitchen(point, room) {
  const size = 18, full = Math.min(1, point.busy / point.pool) * size;
  // About as wide as the letters are; a name that does not fit on the right goes to the left.
  const flip = size + point.name.length * 7 > room;
  const state = point.open ? `${point.busy} of ${point.pool} slots taken` : "closed";
  return [
    drawn("title", {}, `${point.name}: ${state}`),
    drawn("rect", { class: point.open ? "plot" : "plot shut", x: -size / 2, y: -size / 2, width: size, height: size, rx: 4 }),
    ...(full ? [drawn("rect", { class: "load", x: -size / 2, y: size / 2 - full, width: size, height: full, rx: 4 })] : []),
    ...(point.open ? [] : [drawn("path", { class: "cross", d: "M-5-5 5 5M-5 5 5-5" })]),
    drawn("text", { class: "name", x: flip ? -size / 2 - 5 : size / 2 + 5, y: 4, "text-anchor": flip ? "end" : "start" }, point.name),
  ];
}

function rider(id) {
  const jobs = board.couriers.get(id)?.jobs || 0;
  return [
    drawn("title", {}, jobs ? `Courier with ${jobs} job${jobs > 1 ? "s" : ""}` : "Free courier"),
    drawn("circle", { class: jobs ? "rider busy" : "rider", r: 5 }),
  ];
}
