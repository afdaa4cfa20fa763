"use strict";

const $ = (id) => document.getElementById(id);
const state = { file: null, box: null, search: null };

// The key: from the address that the server printed (never sent there, as what follows # stays here), or typed in.
const fromAddress = new URLSearchParams(location.hash.slice(1)).get("key");
if (fromAddress) {
  sessionStorage.setItem("key", fromAddress);
  history.replaceState(null, "", location.pathname);
}
const key = () => sessionStorage.getItem("key") || "";
const showKey = () => document.body.classList.toggle("has-key", Boolean(key()));
$("key").value = key();
showKey();
$("key").addEventListener("input", () => {
  sessionStorage.setItem("key", $("key").value.trim());
  showKey();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("key-box").open = false;
});

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key()) headers.Authorization = `Bearer ${key()}`;
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  let fault = { message: `the server answered ${answer.status}` };
  try {
    fault = (await answer.json()).error;
  } catch {}
  if (answer.status === 401) $("key-box").open = true;
  throw new Error([fault.message, fault.hint].filter(Boolean).join(". "));
}

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

// Choosing a photo

function choose(file) {
  if (!file) return;
  state.file = file;
  setBox(null);
  URL.revokeObjectURL($("preview").src);
  $("preview").src = URL.createObjectURL(file);
  $("photo").hidden = false;
  document.body.classList.add("answered");
  search();
}

$("file").addEventListener("change", () => choose($("file").files[0]));
$("another").addEventListener("click", () => $("file").click());
$("drop").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") $("file").click();
});
document.addEventListener("paste", (event) => {
  choose([...event.clipboardData.files].find((file) => file.type.startsWith("image/")));
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  choose(event.dataTransfer.files[0]);
});

// A box around the thing meant, in pixels of the photo. The picture is centred in its frame.

function place() {
  const image = $("preview");
  const scale = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
  return {
    scale,
    left: (image.clientWidth - image.naturalWidth * scale) / 2,
    top: (image.clientHeight - image.naturalHeight * scale) / 2,
  };
}

function setBox(box) {
  state.box = box;
  $("box").hidden = $("whole").hidden = !box;
  if (!box) return;
  const { scale, left, top } = place();
  const [x0, y0, x1, y1] = box;
  Object.assign($("box").style, {
    left: `${left + x0 * scale}px`,
    top: `${top + y0 * scale}px`,
    width: `${(x1 - x0) * scale}px`,
    height: `${(y1 - y0) * scale}px`,
  });
}

let corner = null;
const within = (value, most) => Math.max(0, Math.min(most, value));
function pixel(event) {
  const { scale, left, top } = place();
  const frame = $("frame").getBoundingClientRect();
  return [
    within((event.clientX - frame.left - left) / scale, $("preview").naturalWidth),
    within((event.clientY - frame.top - top) / scale, $("preview").naturalHeight),
  ];
}
$("frame").addEventListener("pointerdown", (event) => {
  corner = pixel(event);
  $("frame").setPointerCapture(event.pointerId);
});
$("frame").addEventListener("pointermove", (event) => {
  if (!corner) return;
  const [x, y] = pixel(event);
  setBox([Math.min(x, corner[0]), Math.min(y, corner[1]), Math.max(x, corner[0]), Math.max(y, corner[1])]);
});
$("frame").addEventListener("pointerup", () => {
  corner = null;
  if (!state.box) return;
  const [x0, y0, x1, y1] = state.box;
  if ((x1 - x0) * place().scale < 12 || (y1 - y0) * place().scale < 12) setBox(null);
  search();
});
$("whole").addEventListener("click", () => {
  setBox(null);
  search();
});
window.addEventListener("resize", () => setBox(state.box));

// Searching

$("options").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
$("k").addEventListener("change", () => search());

async function search() {
  if (!state.file) return;
  state.search?.abort();
  const control = (state.search = new AbortController());
  const form = new FormData();
  form.append("image", state.file);
  form.append("k", $("k").value);
  if (state.box) form.append("box", state.box.map((value) => value.toFixed(1)).join(","));
  const filter = $("filter").value.trim();
  if (filter) form.append("filter", filter);
  document.body.classList.add("busy");
  const began = performance.now();
  try {
    const answer = await ask("/v1/search", { method: "POST", body: form, signal: control.signal });
    const found = await answer.json();
    say("");
    show(found.results[0], performance.now() - began, Boolean(filter));
  } catch (error) {
    if (error.name === "AbortError") return;
    say(error.message);
    $("summary").hidden = true;
    $("hits").replaceChildren();
  }
  document.body.classList.remove("busy");
}

function show(result, milliseconds, isFiltered) {
  const count = result.hits.length;
  const known = result.in_catalogue;
  const nearest = count === 1 ? "1 item" : `${count} nearest items`;
  const where = isFiltered ? "among the items that pass the filter" : "in the catalogue";
  const sure = known === null ? "" : ` · ${where} with ${percent(known)} probability`;
  $("summary").hidden = false;
  $("summary").classList.toggle("none", !count);
  $("summary").textContent = count
    ? `${nearest} · ${Math.round(milliseconds)} ms${sure}`
    : result.rejected
      ? `Not sure enough that this is ${where}: the probability is ${percent(known)}.`
      : "Nothing passes the filter.";
  $("hits").replaceChildren(...result.hits.map((hit) => card(hit, result.request_id)));
}

// No probability that is only rounded to 0 or 1 is called so.
function percent(probability) {
  if (probability < 0.01) return "less than 1 %";
  if (probability > 0.99) return "more than 99 %";
  return `${Math.round(100 * probability)} %`;
}

function card(hit, request) {
  const item = $("card").content.cloneNode(true).querySelector("li");
  const about = hit.attributes;
  const name = about.title || hit.item_id;
  item.querySelector(".name").textContent = item.querySelector(".name").title = name;
  item.querySelector(".facts").textContent = [about.price, about.brand, about.coarse_label]
    .filter((value) => value !== null && value !== undefined)
    .map((value) => (typeof value === "number" ? value.toLocaleString("en") : value))
    .join(" · ");
  item.querySelector(".score b").textContent = hit.score.toFixed(3);
  item.querySelector(".bar i").style.width = `${Math.max(0, hit.score) * 100}%`;
  item.querySelector(".letter").textContent = name.slice(0, 1).toUpperCase();
  picture(item, hit, name);
  const pick = item.querySelector(".pick");
  const not = item.querySelector(".not");
  pick.setAttribute("aria-label", `This is it: ${name}`);
  if (request) {
    pick.addEventListener("click", () => feedback(item, request, hit, "click", "chosen"));
    not.addEventListener("click", () => feedback(item, request, hit, "not_this", "refused"));
  } else {
    pick.disabled = not.disabled = true;
  }
  return item;
}

async function picture(item, hit, name) {
  try {
    const part = Math.max(hit.part, 0); // below 0 it was found by a photo: the first picture is shown
    const answer = await ask(`/v1/pictures/${encodeURIComponent(hit.item_id)}?part=${part}`);
    const image = item.querySelector("img");
    const shown = URL.createObjectURL(await answer.blob());
    image.addEventListener("load", () => URL.revokeObjectURL(shown), { once: true });
    image.src = shown;
    image.alt = name;
    image.hidden = false;
    item.querySelector(".letter").hidden = true;
  } catch {
    // The letter stays.
  }
}

async function feedback(item, request, hit, event, mark) {
  try {
    await ask("/v1/feedback", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ request_id: request, item_id: hit.item_id, event }),
    });
    item.classList.remove("chosen", "refused");
    item.classList.add(mark);
    say("");
  } catch (error) {
    say(error.message);
  }
}
