// The builder: a button of an error selects its line in the JSON.
(function () {
  document.addEventListener("click", function (e) {
    var button = e.target.closest("[data-line]"), field = document.getElementById("f-json");
    if (!button || !field) return;
    var lines = field.value.split("\n"), line = Number(button.dataset.line) - 1, start = 0;
    for (var i = 0; i < line && i < lines.length; i++) start += lines[i].length + 1;
    field.focus();
    field.setSelectionRange(start, start + (lines[line] || "").length);
  });
})();
