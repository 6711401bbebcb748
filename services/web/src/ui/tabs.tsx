/** A row of links to the parts of a page. */
import type { JSX } from "preact";

interface Props {
  label: string;
  tabs: readonly { key: string; name: string; href: string }[];
  current: string;
}

export function TabBar({ label, tabs, current }: Props): JSX.Element {
  return (
    <nav class="tab-bar" aria-label={label}>
      {tabs.map((tab) => (
        <a key={tab.key} href={tab.href} aria-current={tab.key === current ? "page" : undefined}>
          {tab.name}
        </a>
      ))}
    </nav>
  );
}
