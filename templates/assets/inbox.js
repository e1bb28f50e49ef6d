// The inbox: a draft survives a reload, a new message does not move what one reads, what was seen is marked as read, and
// a canned reply goes in where the cursor stands. Without this script all of it works by links and buttons.
(function () {
  var box = document.getElementById("msgs-box"), text = document.getElementById("f-body");
  var newer = document.getElementById("newer"), seen = document.querySelector("form[data-seen]");
  var form = document.querySelector("form[data-reply]");
  var draft = form && "ese_draft_" + form.dataset.reply;
  var known = {}, waiting = 0, told = 0, isSticky = true;

  function keep(value) {
    try { if (value) sessionStorage.setItem(draft, value); else sessionStorage.removeItem(draft); } catch (_) { /* not kept, then */ }
  }

  function grow() {
    text.style.height = "auto";
    text.style.height = Math.min(text.scrollHeight + 2, 240) + "px";
  }

  if (form && text) {
    var before = null;
    try { before = sessionStorage.getItem(draft); } catch (_) { /* none */ }
    if (!text.value && before) text.value = before;
    grow();
    text.addEventListener("input", function () { keep(text.value); grow(); });
    form.addEventListener("submit", function () {
      keep("");
      var button = form.querySelector("button.btn-primary");
      // After the event, or the form would not be sent.
      setTimeout(function () { button.disabled = true; }, 0);
    });
    addEventListener("pageshow", function () { form.querySelector("button.btn-primary").disabled = false; });
  }

  document.addEventListener("click", function (event) {
    var link = event.target.closest("a[data-insert]");
    if (!link || !text) return;
    event.preventDefault();
    fetch(link.dataset.insert, { headers: { accept: "text/plain" } }).then(function (answer) {
      if (!answer.ok) throw new Error(String(answer.status));
      return answer.text();
    }).then(function (words) {
      var menu = link.closest("[popover]");
      if (menu && menu.hidePopover) menu.hidePopover();
      text.setRangeText(words, text.selectionStart, text.selectionEnd, "end");
      keep(text.value);
      grow();
      text.focus();
    }).catch(function () { location.assign(link.href); });
  });

  // The number in the side bar is that of this page.
  document.addEventListener("live:swapped", function (event) {
    var badge = document.querySelector('#nav a[href="/admin/inbox"] .n');
    if (!badge || !event.detail || event.detail.id !== "inbox-lead") return;
    var n = event.detail.dataset.unread;
    badge.firstChild.data = n;
    badge.title = n + " unread";
    badge.hidden = n === "0";
  });

  if (!box) return;

  function messages() { return document.getElementById("inbox-messages"); }
  function ids() { return Array.from(messages().querySelectorAll("[data-said]"), function (one) { return one.dataset.said; }); }
  function isAtEnd() { return box.scrollHeight - box.scrollTop - box.clientHeight < 60; }
  function toEnd() { box.scrollTop = box.scrollHeight; waiting = 0; newer.hidden = true; }

  // Marks as read what stands on the screen.
  function see() {
    var list = messages(), last = Number(list.dataset.last);
    if (!seen || document.hidden || !isAtEnd() || list.dataset.state !== "unread" || last <= told) return;
    told = last;
    var fields = new URLSearchParams(new FormData(seen));
    fields.set("upto", String(last));
    fields.set("_once", Array.from(crypto.getRandomValues(new Uint8Array(12)), function (b) { return b.toString(16); }).join("-"));
    fetch(seen.action, { method: "POST", body: fields, redirect: "manual" }).then(function (answer) {
      if (answer.type === "opaqueredirect" || answer.ok) seen.hidden = true; else told = 0;
    }).catch(function () { told = 0; });
  }

  ids().forEach(function (id) { known[id] = true; });
  var fresh = box.querySelector(".fresh");
  toEnd();
  if (fresh && fresh.offsetTop < box.scrollTop) box.scrollTop = Math.max(0, fresh.offsetTop - 24);
  isSticky = isAtEnd();
  see();

  box.addEventListener("scroll", function () {
    isSticky = isAtEnd();
    if (isSticky) { waiting = 0; newer.hidden = true; see(); }
  }, { passive: true });
  box.addEventListener("load", function () { if (isSticky) toEnd(); }, true);
  document.addEventListener("visibilitychange", see);
  newer.addEventListener("click", function () { toEnd(); see(); });

  document.addEventListener("live:swapped", function (event) {
    if (!event.detail || event.detail.id !== "inbox-messages") return;
    var come = ids().filter(function (id) { return !known[id]; });
    come.forEach(function (id) { known[id] = true; });
    var theirs = come.filter(function (id) { return id.indexOf("in-") === 0; }).length;
    if (isSticky) { toEnd(); see(); return; }
    waiting += theirs;
    if (waiting) {
      newer.textContent = waiting + (waiting === 1 ? " new message ↓" : " new messages ↓");
      newer.hidden = false;
    }
  });
})();
