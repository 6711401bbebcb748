/** How numbers, dates and lists of names are written. What is said around them is in texts.ts. */
export const LOCALE = "en-GB";
