// The template editor: buttons put a variable where the cursor is, or replace a character that makes the text dear.
// The text field then says that it was typed in, and the page follows.
(function () {
  function body() { return document.getElementById("f-body"); }
  function typed(field) { field.focus(); field.dispatchEvent(new Event("input", { bubbles: true })); }
  document.addEventListener("click", function (e) {
    var insert = e.target.closest("[data-insert]"), replace = e.target.closest("[data-replace]"), field = body();
    if (!field || field.disabled) return;
    if (insert) {
      field.setRangeText(insert.dataset.insert, field.selectionStart, field.selectionEnd, "end");
      typed(field);
    } else if (replace) {
      field.value = field.value.split(replace.dataset.replace).join(replace.dataset.with);
      typed(field);
    }
  });
})();
