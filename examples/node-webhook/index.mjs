// Accepts a webhook only when its signature fits: an HMAC of the body under a secret that both sides know.
import { createHmac, timingSafeEqual } from "node:crypto";

const secret = process.env.WEBHOOK_SECRET;

export const handler = async (event) => {
  const body = event.isBase64Encoded ? Buffer.from(event.body, "base64") : Buffer.from(event.body ?? "");
  const expected = createHmac("sha256", secret).update(body).digest();
  const given = Buffer.from(event.headers["x-signature-256"] ?? "", "hex");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    console.warn("a webhook with a wrong signature");
    return { statusCode: 401, body: "wrong signature" };
  }
  const { action, number } = JSON.parse(body.toString());
  return { statusCode: 202, headers: { "content-type": "application/json" }, body: JSON.stringify({ queued: `${action} #${number}` }) };
};
