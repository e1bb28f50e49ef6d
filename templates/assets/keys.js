// Keys: "/" search, "?" the list of keys, "g" and a letter goes to a section, "n" something new, "j" and "k" the next and
// the last row, "e" closes a conversation, Ctrl+Enter sends, Esc closes. Off in text fields; the dialog switches them off
// for good, but for Esc, Ctrl+Enter and "?" itself. html[data-shortcuts="off"] switches them off from the server.
// A page offers keys by attributes: a[data-key-new], [data-key-close], [data-rows] around rows that are links.
(function () {
  var OFF = "ese_keys_off", root = document.documentElement, went = 0;
  var PLACES = { d: "/admin", i: "/admin/inbox", c: "/admin/campaigns", p: "/admin/users", s: "/admin/segments", t: "/admin/templates", m: "/admin/monitoring" };
  var LIST = [
    ["/", "Search"], ["?", "This list"], ["g d", "Dashboard"], ["g i", "Inbox"], ["g c", "Campaigns"], ["g p", "People"],
    ["g s", "Segments"], ["g t", "Templates"], ["g m", "Monitoring"], ["n", "New, on pages that have it"],
    ["j", "Next row"], ["k", "Row before"], ["Enter", "Open the row"], ["e", "Close a conversation"],
    ["Ctrl Enter", "Send"], ["Esc", "Close a menu or dialog"]
  ];

  function isOff() {
    try { return root.dataset.shortcuts === "off" || localStorage.getItem(OFF) === "1"; } catch (_) { return false; }
  }

  function keep(off) {
    try { if (off) localStorage.setItem(OFF, "1"); else localStorage.removeItem(OFF); } catch (_) { /* not kept, then */ }
  }

  function isText(at) {
    return at.isContentEditable || at.matches("textarea, select, input:not([type=checkbox], [type=radio], [type=button], [type=submit])");
  }

  function make(tag, text, into) {
    var one = document.createElement(tag);
    if (text) one.textContent = text;
    into.append(one);
    return one;
  }

  function dialog() {
    var box = document.getElementById("keys");
    if (!box) {
      box = make("dialog", "", document.body);
      box.id = "keys";
      box.setAttribute("aria-labelledby", "keys-title");
      make("h2", "Keys", box).id = "keys-title";
      var list = make("dl", "", box);
      LIST.forEach(function (one) {
        var keys = make("dt", "", list);
        one[0].split(" ").forEach(function (key) { make("kbd", key, keys); });
        make("dd", one[1], list);
      });
      var label = make("label", "", box), check = make("input", "", label);
      check.type = "checkbox";
      check.className = "form-check-input";
      check.checked = !isOff();
      check.disabled = root.dataset.shortcuts === "off";
      check.addEventListener("change", function () { keep(!check.checked); });
      make("span", check.disabled ? "Switched off in your profile" : "Single keys are on, in this browser", label);
      var button = make("button", "Close", box);
      button.type = "button";
      button.className = "btn";
      button.addEventListener("click", function () { box.close(); });
    }
    if (!box.open) box.showModal();
  }

  // Rows are those of the table or list that the page marks, or of the first table whose rows are links.
  function rows() {
    var scope = document.querySelector("[data-rows]") || document.querySelector("main table tbody");
    var links = scope ? scope.querySelectorAll("tr th[scope=row] a, li > a, tr td:first-child a") : [];
    return Array.from(links).filter(function (link) { return link.offsetParent; });
  }

  function move(step) {
    var all = rows(), at = all.indexOf(document.activeElement);
    var next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + step));
    if (!all[next]) return false;
    all[next].focus();
    all[next].scrollIntoView({ block: "nearest" });
    return true;
  }

  function press(selector) {
    var one = document.querySelector(selector);
    if (!one) return false;
    one.click();
    return true;
  }

  function single(key) {
    var isGoing = Date.now() - went < 1500;
    went = 0;
    if (isGoing && PLACES[key]) { location.assign(PLACES[key]); return true; }
    if (key === "g") { went = Date.now(); return true; }
    if (key === "j") return move(1);
    if (key === "k") return move(-1);
    if (key === "n") return press("main a[data-key-new], main .head .acts a.btn-primary");
    if (key === "e") return press("[data-key-close]");
    if (key === "/") {
      var box = document.querySelector(".top input[type=search]");
      if (box && box.offsetParent) { box.focus(); box.select(); return true; }
    }
    return false;
  }

  document.addEventListener("keydown", function (event) {
    var at = event.target;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && at.form && at.matches("textarea")) {
      event.preventDefault();
      at.form.requestSubmit();
      return;
    }
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !at.matches || isText(at)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "?") { event.preventDefault(); dialog(); return; }
    if (!isOff() && single(event.key)) event.preventDefault();
  });
  document.addEventListener("click", function (event) {
    if (event.target.closest("[data-keys]")) dialog();
  });
})();
