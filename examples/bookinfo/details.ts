import { idIn, json, notFound, runService } from "./service.ts";

// GET /details/ID: what is printed on the book's last page.
runService("details", process.env, (_request, url) => {
  const id = idIn(url, "details");
  if (id === undefined) return notFound;
  return json(200, {
    id: Number(id),
    author: "William Shakespeare",
    year: 1595,
    type: "paperback",
    pages: 200,
    publisher: "PublisherA",
    language: "English",
    "ISBN-10": "1234567890",
    "ISBN-13": "123-1234567890",
  });
});
