/** A book as `/api/v1/products` lists it. */
export interface Product {
  readonly id: number;
  readonly title: string;
  readonly description: string;
}

export interface Review {
  readonly reviewer: string;
  readonly text: string;
  readonly rating?: {
    readonly stars?: number;
    readonly color?: string;
    readonly error?: string;
  };
}

/** What the page shows: the two lower parts are undefined where their service did not answer. */
export interface PageModel {
  readonly product: Product;
  readonly user: string | undefined;
  readonly details: Readonly<Record<string, string | number>> | undefined;
  readonly reviews:
    | {
        readonly list: readonly Review[];
        readonly podname: string;
        readonly version: string;
      }
    | undefined;
}

/** The product page as HTML; every value is escaped. */
export function renderPage(model: PageModel): string {
  const { product, user, details, reviews } = model;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(product.title)} · Bookinfo</title>
<link rel="stylesheet" href="/static/bookinfo.css">
</head>
<body>
<header><strong>Bookinfo</strong> <span>served through Serin</span>${renderLogin(user)}</header>
<main>
<h1>${escapeHtml(product.title)}</h1>
<p class="summary">${escapeHtml(product.description)}</p>
<div class="columns">
<section><h2>Details</h2>${renderDetails(details)}</section>
<section><h2>Reviews</h2>${renderReviews(reviews)}</section>
</div>
</main>
</body>
</html>
`;
}

function renderLogin(user: string | undefined): string {
  if (user !== undefined) {
    return `<form method="post" action="/logout">${escapeHtml(user)} <button>Sign out</button></form>`;
  }
  return (
    `<form method="post" action="/login"><label>User <input name="username" required ` +
    `maxlength="64" autocomplete="username"></label> <button>Sign in</button></form>`
  );
}

function renderDetails(details: PageModel["details"]): string {
  if (details === undefined) return missing("details");
  const rows = Object.entries(details)
    .filter(([name]) => name !== "id")
    .map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(value))}</dd>`);
  return `<dl>${rows.join("")}</dl>`;
}

function renderReviews(reviews: PageModel["reviews"]): string {
  if (reviews === undefined) return missing("reviews");
  const items = reviews.list.map(
    (review) =>
      `<blockquote><p>${escapeHtml(review.text)}</p>` +
      `<footer>${escapeHtml(review.reviewer)} ${renderRating(review.rating)}</footer></blockquote>`,
  );
  return (
    items.join("") +
    `<p class="origin">Served by <code>${escapeHtml(reviews.podname)}</code>, version ` +
    `<strong>${escapeHtml(reviews.version)}</strong></p>`
  );
}

function renderRating(rating: Review["rating"]): string {
  if (rating === undefined) return "";
  if (rating.stars === undefined) return `<em>${escapeHtml(rating.error ?? "not rated")}</em>`;
  const color = rating.color === "red" ? "red" : "black";
  const stars = Math.min(5, Math.max(0, Math.round(rating.stars)));
  return (
    `<span class="stars ${color}" role="img" aria-label="${stars} of 5 stars">` +
    `${"★".repeat(stars)}${"☆".repeat(5 - stars)}</span>`
  );
}

function missing(what: string): string {
  return `<p class="missing">Sorry, product ${what} are currently unavailable for this book.</p>`;
}

function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
}

export const STYLESHEET = `:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { margin: 0 }
header { display: flex; gap: .75rem; align-items: baseline; padding: .75rem 1.5rem; background: #1b4d3e; color: #fff }
header form { margin-left: auto }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem }
h1 { margin: .5rem 0; font-size: 2rem }
.summary { font-size: 1.1rem; opacity: .85 }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 2rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem }
dt { opacity: .7 }
dd { margin: 0 }
blockquote { margin: 0 0 1rem; padding-left: 1rem; border-left: .25rem solid #1b4d3e }
.stars { letter-spacing: .1em }
.stars.red { color: #d33 }
.missing, .origin { opacity: .75 }
`;
