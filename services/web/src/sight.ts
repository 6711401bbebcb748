/** One watcher for all elements that want to know whether they can be seen. */

/** So far outside of the window an element counts as seen, so that it is drawn before it comes in. */
const MARGIN = "200px";

export class Sight {
  private readonly told = new Map<Element, (seen: boolean) => void>();
  private readonly observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) this.told.get(entry.target)?.(entry.isIntersecting);
    },
    { rootMargin: MARGIN },
  );

  /** Tells whenever the element comes into sight or leaves it; returns what ends that. */
  watch(element: Element, tell: (seen: boolean) => void): () => void {
    this.told.set(element, tell);
    this.observer.observe(element);
    return () => {
      this.told.delete(element);
      this.observer.unobserve(element);
    };
  }
}
