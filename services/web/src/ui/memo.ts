/** A component that renders again only when one of its properties is another one. */
import { type Component, createElement, type FunctionComponent } from "preact";

export function memo<P extends object>(Inner: FunctionComponent<P>): FunctionComponent<P> {
  function Memo(this: Component<P>, props: P) {
    this.shouldComponentUpdate = (next) => differ(this.props, next);
    return createElement(Inner, props);
  }
  return Memo as FunctionComponent<P>;
}

function differ(before: object, after: object): boolean {
  const keys = Object.keys(after) as (keyof object)[];
  return keys.length !== Object.keys(before).length || keys.some((key) => !Object.is(before[key], after[key]));
}
