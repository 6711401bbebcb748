/** Light or dark: as the system says, or as somebody chose in this browser. public/theme.js sets it before the first paint. */

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEY = "theme";

interface Parts {
  /** The root element: styles look at its data-theme, which is the one place where the theme is kept. */
  root: { dataset: DOMStringMap };
  /** Matches where the system is dark. */
  system: MediaQueryList;
  /** Throws where a browser keeps nothing. */
  storage: () => Storage;
  /** Tells of what another tab chose. */
  window: EventTarget;
}

export class Themes {
  private readonly parts: Parts;
  private readonly listeners = new Set<() => void>();

  constructor(parts: Parts) {
    this.parts = parts;
    parts.system.addEventListener("change", () => this.tell());
    parts.window.addEventListener("storage", (event) => {
      const { key, newValue } = event as StorageEvent;
      if (key === KEY || key === null) this.set(themeOf(newValue));
    });
  }

  get chosen(): Theme {
    return themeOf(this.parts.root.dataset["theme"]);
  }

  get dark(): boolean {
    return this.chosen === "dark" || (this.chosen === "system" && this.parts.system.matches);
  }

  /** Now, and whenever the page is opened in this browser; only now where a browser keeps nothing. */
  choose(theme: Theme): void {
    this.set(theme);
    try {
      if (theme === "system") this.parts.storage().removeItem(KEY);
      else this.parts.storage().setItem(KEY, theme);
    } catch {
      // It stays until the page is left.
    }
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private set(theme: Theme): void {
    if (theme === "system") delete this.parts.root.dataset["theme"];
    else this.parts.root.dataset["theme"] = theme;
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}

function themeOf(word: string | null | undefined): Theme {
  return THEMES.find((theme) => theme === word) ?? "system";
}
