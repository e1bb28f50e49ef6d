// What was under way is at its end: the page has another shape then.
document.addEventListener("live:swapped", function (event) {
  if (event.detail && event.detail.hasAttribute("data-done")) location.reload();
});
