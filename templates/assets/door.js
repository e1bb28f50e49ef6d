// Copy buttons: data-copy names the element whose text or value is copied. Without scripts they are hidden.
(function () {
  document.addEventListener("click", function (e) {
    var button = e.target.closest("[data-copy]");
    if (!button) return;
    var from = document.getElementById(button.dataset.copy);
    var items = from.querySelectorAll("li");
    var text = "value" in from && from.tagName === "INPUT" ? from.value
      : items.length ? Array.from(items, function (li) { return li.textContent.trim(); }).join("\n") : from.textContent.trim();
    var word = button.querySelector("[data-copied]");
    var done = function () { var before = word.textContent; word.textContent = word.dataset.copied; setTimeout(function () { word.textContent = before; }, 2000); };
    var select = function () {
      if (from.select) from.select(); else getSelection().selectAllChildren(from);
      if (document.execCommand("copy")) done();
    };
    // The clipboard is there over https and on localhost alone.
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, select); else select();
  });
})();
