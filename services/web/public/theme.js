// The theme that somebody chose in this browser, set before anything is painted: a module would come too late. src/theme.ts goes on.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // A browser that keeps nothing: as the system says.
}
