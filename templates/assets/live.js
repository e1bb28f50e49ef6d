// Live parts. A named event of a stream carries the new HTML of the element with that id (src/web/admin/live/).
// The element is morphed, so what did not change stays the same node: focus, scroll and text marked in it too.
// - a part with the focus inside, or within [data-paused], keeps still; its newest HTML is put in afterwards
// - parts are made for all who look, so their forms come without CSRF and idempotency fields: filled in here
// - [data-live-word] says "Live", or after 5 s without a connection "Connection lost, trying again"
// - a button [data-pause="id"] stops and starts the part with that id
// "live:swapped" is told to the document after each swap, with the element as detail.
(function () {
  var LOST_AFTER = 5000, SILENT = 40000;
  var kept = {}, lost = null, silent = null;

  function say(word, isLost) {
    document.querySelectorAll("[data-live-word]").forEach(function (at) {
      if (at.textContent !== word) at.textContent = word;
      var box = at.closest("[data-live-state]");
      if (box) box.classList.toggle("is-lost", isLost);
    });
  }

  function losing() {
    clearTimeout(silent);
    if (!lost) lost = setTimeout(function () { say("Connection lost, trying again", true); }, LOST_AFTER);
  }

  function heard() {
    clearTimeout(lost);
    clearTimeout(silent);
    lost = null;
    say("Live", false);
    silent = setTimeout(losing, SILENT);
  }

  // The part must not move now: somebody is in it, or wants it to stand still.
  function isHeld(part) {
    var at = document.activeElement;
    return Boolean(part.closest("[data-paused]") || (at && at !== document.body && at !== part && part.contains(at)));
  }

  function random() {
    var bits = crypto.getRandomValues(new Uint8Array(16));
    return Array.prototype.map.call(bits, function (b) { return b.toString(16).padStart(2, "0"); }).join("");
  }

  // The fields that only the page of a session has. A form that stays keeps its key: a double click is one click.
  function fill(fresh, old) {
    var csrf = document.querySelector("input[name=_csrf]:not([value=''])");
    fresh.querySelectorAll("form").forEach(function (form) {
      var action = form.getAttribute("action"), same = null;
      old.querySelectorAll("form").forEach(function (one) { if (one.getAttribute("action") === action) same = one; });
      form.querySelectorAll("input[name=_csrf]").forEach(function (field) {
        if (csrf) field.setAttribute("value", csrf.value);
      });
      form.querySelectorAll("input[name=_once]").forEach(function (field) {
        var before = same && same.querySelector("input[name=_once]");
        field.setAttribute("value", before && before.value ? before.value : random());
      });
    });
  }

  // What somebody opened stays open.
  function keepOpen(fresh, old) {
    var was = old.querySelectorAll("details"), now = fresh.querySelectorAll("details");
    was.forEach(function (one, n) {
      var same = one.id ? fresh.querySelector("#" + CSS.escape(one.id)) : now[n];
      if (same && one.open) same.setAttribute("open", "");
      if (same && !one.open) same.removeAttribute("open");
    });
  }

  function swap(old, html) {
    var box = document.createElement("template");
    box.innerHTML = html;
    var fresh = box.content.firstElementChild;
    if (!fresh || fresh.id !== old.id) return;
    fill(fresh, old);
    keepOpen(fresh, old);
    htmx.swap({ sourceElement: old, target: old, swap: "outerMorph", text: fresh.outerHTML }).then(function () {
      document.dispatchEvent(new CustomEvent("live:swapped", { detail: document.getElementById(fresh.id) }));
    });
  }

  function release() {
    Object.keys(kept).forEach(function (id) {
      var part = document.getElementById(id);
      if (part && isHeld(part)) return;
      var html = kept[id];
      delete kept[id];
      if (part) swap(part, html);
    });
  }

  document.addEventListener("htmx:sse:before:message", function (event) {
    var message = event.detail.message;
    heard();
    if (message.event === "beat") { event.preventDefault(); return; }
    var part = message.event && document.getElementById(message.event);
    if (!part) return;
    event.preventDefault();
    if (isHeld(part)) kept[part.id] = message.data;
    else { delete kept[part.id]; swap(part, message.data); }
  });
  document.addEventListener("htmx:sse:after:connection", heard);
  document.addEventListener("htmx:sse:before:connection", function (event) {
    if (event.detail.connection.attempt > 0 && !document.hidden) losing();
  });
  document.addEventListener("htmx:sse:error", function (event) {
    // The session is over: the page itself knows the way to the login and back.
    if (event.detail.status === 401) location.reload();
    else losing();
  });
  // hx-sse comes back by itself only to a stream that was open once.
  function again(event) {
    var at = event.target, href = at.getAttribute && at.getAttribute("hx-sse:connect");
    if (!href) return;
    losing();
    setTimeout(function () { if (at.isConnected) htmx.ajax("GET", href, { source: at, swap: "none" }); }, 3000);
  }
  document.addEventListener("htmx:error", again);
  document.addEventListener("htmx:response:error", again);
  document.addEventListener("htmx:after:request", function (event) {
    if (event.detail.ctx.response.status !== 204 || !event.target.getAttribute("hx-sse:connect")) return;
    clearTimeout(lost);
    say("Not live: too many pages are open", true);
  });
  if (document.querySelector("[hx-sse\\:connect]")) losing();
  document.addEventListener("visibilitychange", function () { if (document.hidden) { clearTimeout(lost); clearTimeout(silent); lost = null; } });
  // The focus is elsewhere only after the event.
  document.addEventListener("focusout", function () { setTimeout(release, 0); });

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-pause]");
    var part = button && document.getElementById(button.dataset.pause);
    if (!part) return;
    var isPaused = part.toggleAttribute("data-paused");
    button.setAttribute("aria-pressed", String(isPaused));
    if (!isPaused) release();
  });
})();
