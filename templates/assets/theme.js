// Runs in <head> before the first paint: marks that scripts run, sets light or dark, and tells the server the
// viewer's time zone. The choice is kept in this browser.
(function () {
  var root = document.documentElement, key = "ese_theme";
  root.classList.add("js");
  var zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = "ese_zone=" + encodeURIComponent(zone) + ";path=/admin;max-age=31536000;samesite=lax";
  var dark = matchMedia("(prefers-color-scheme: dark)");
  // A choice of the button holds until the one of the profile changes: it is kept with that.
  var set = root.dataset.theme;
  var chosen = function () { try { var kept = (localStorage.getItem(key) || "").split("@"); return kept[1] === set ? kept[0] : null; } catch (e) { return null; } };
  function apply() {
    var want = chosen() || root.dataset.theme;
    var mode = want === "light" || want === "dark" ? want : dark.matches ? "dark" : "light";
    root.setAttribute("data-bs-theme", mode);
    dispatchEvent(new Event("themechange"));
  }
  dark.addEventListener("change", apply);
  apply();
  document.addEventListener("click", function (e) {
    if (!e.target.closest("[data-toggle-theme]")) return;
    var next = root.getAttribute("data-bs-theme") === "dark" ? "light" : "dark";
    try { localStorage.setItem(key, next + "@" + set); } catch (e) { root.dataset.theme = next; }
    apply();
  });
})();
