//! Functions as people write them: with the frameworks that most of them build on, unchanged from their registries.

use crate::journeys::{
    amazon::client,
    urls::{open_to_all, send, url},
};
use myna_tests::{Platform, Result, Test, ensure, json, skip, tests};

pub const ALL: &[Test] =
    tests![powertools_route_log_and_measure, an_asgi_app_answers_by_its_address, an_express_app_and_middy_answer];

const JSON: (&str, &str) = ("content-type", "application/json");

/// PyPI aws-lambda-powertools: its router behind a function URL, its structured logger, its embedded metrics.
fn powertools_route_log_and_measure() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver
from aws_lambda_powertools.logging import correlation_paths
logger, metrics, app = Logger(service="shop"), Metrics(namespace="Shop", service="shop"), LambdaFunctionUrlResolver()
@app.get("/orders/<order>")
def get(order: str):
    logger.info("asked for", extra={"order": order})
    metrics.add_metric(name="Reads", unit="Count", value=1)
    return {"order": order, "query": app.current_event.query_string_parameters}
@app.post("/orders")
def post():
    return {"made": app.current_event.json_body}, 201
@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(correlation_id_path=correlation_paths.LAMBDA_FUNCTION_URL)
def handler(event, context):
    return app.resolve(event, context)
"#;
    let f =
        myna.draft("shop", source).folder(&client("frameworks-python")?)?.set("MemorySize", 512).set("Timeout", 30).create()?;
    let (_, id) = url(&f, "NONE")?;
    open_to_all(&f)?;
    let at = |path: &str| format!("/_url/{id}{path}");
    let got = send(&myna, "GET", &at("/orders/7?a=1"), &[], &[])?;
    ensure!(got.status == 200 && got.json()? == json!({"order": "7", "query": {"a": "1"}}), "{}", got.text());
    let made = send(&myna, "POST", &at("/orders"), &[JSON], br#"{"n": 1}"#)?;
    ensure!(made.status == 201 && made.json()? == json!({"made": {"n": 1}}), "{}", made.text());
    ensure!(send(&myna, "GET", &at("/nothing"), &[], &[])?.status == 404);
    for said in ["asked for", "cold_start", "ColdStart", "Reads"] {
        myna.until_logged("shop", said, 1)?;
    }
    Ok(())
}

/// PyPI fastapi, served by mangum.
fn an_asgi_app_answers_by_its_address() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
from fastapi import FastAPI, HTTPException
from mangum import Mangum
from pydantic import BaseModel
app = FastAPI()
class Item(BaseModel):
    name: str
    price: float
@app.get("/hello/{name}")
def hello(name: str, times: int = 1): return {"hello": [name] * times}
@app.post("/items", status_code=201)
async def make(item: Item): return item
@app.get("/gone")
def gone(): raise HTTPException(410, "gone")
handler = Mangum(app)
"#;
    let f =
        myna.draft("api", source).folder(&client("frameworks-python")?)?.set("MemorySize", 512).set("Timeout", 30).create()?;
    let (_, id) = url(&f, "NONE")?;
    open_to_all(&f)?;
    let at = |path: &str| format!("/_url/{id}{path}");
    let got = send(&myna, "GET", &at("/hello/ada?times=2"), &[], &[])?;
    ensure!(got.status == 200 && got.json()? == json!({"hello": ["ada", "ada"]}), "{}", got.text());
    let made = send(&myna, "POST", &at("/items"), &[JSON], br#"{"name": "x", "price": 1.5}"#)?;
    ensure!(made.status == 201 && made.json()? == json!({"name": "x", "price": 1.5}), "{}", made.text());
    let wrong = send(&myna, "POST", &at("/items"), &[JSON], br#"{"name": "x"}"#)?;
    ensure!(wrong.status == 422 && wrong.text().contains("Field required"), "{}", wrong.text());
    ensure!(send(&myna, "GET", &at("/gone"), &[], &[])?.status == 410);
    Ok(())
}

/// npm express with serverless-http, and @middy/core in an ES module.
fn an_express_app_and_middy_answer() -> Result<()> {
    let folder = client("frameworks-node")?;
    let myna = Platform::start()?;
    if myna.runtime("nodejs20.x")?["found"] == "" {
        return Err(skip("no Node.js 20 on this machine"));
    }
    let express = r#"
const express = require('express');
const app = express();
app.use(express.json());
app.get('/hello/:name', (q, s) => s.set('x-kind', 'greeting').json({ hello: q.params.name, query: q.query }));
app.post('/echo', (q, s) => s.status(201).json(q.body));
app.get('/bytes', (q, s) => s.type('application/octet-stream').send(Buffer.from([0, 255, 1])));
app.get('/boom', () => { throw new Error('boom'); });
exports.handler = require('serverless-http')(app, { binary: ['application/octet-stream'] });
"#;
    let middy = r#"
import middy from '@middy/core';
const lower = {
    before: async (request) => { request.event.name = request.event.name.toLowerCase(); },
    onError: async (request) => { request.response = { failed: request.error.message }; },
};
export const handler = middy().use(lower).handler(async (event) => { if (event.name === 'bad') throw new Error('no'); return event; });
"#;
    let make = |name: &str, file: &str, text: &str| {
        let draft = myna.draft(name, "").folder(&folder)?.file(file, text).set("Runtime", "nodejs20.x");
        draft.set("Handler", "index.handler").set("MemorySize", 512).set("Timeout", 30).create()
    };
    let f = make("express", "index.js", express)?;
    let (_, id) = url(&f, "NONE")?;
    open_to_all(&f)?;
    let at = |path: &str| format!("/_url/{id}{path}");
    let got = send(&myna, "GET", &at("/hello/ada?x=1"), &[], &[])?;
    ensure!(got.status == 200 && got.header("x-kind") == Some("greeting"), "{got:?}");
    ensure!(got.json()? == json!({"hello": "ada", "query": {"x": "1"}}), "{}", got.text());
    let made = send(&myna, "POST", &at("/echo"), &[JSON], br#"{"n": 1}"#)?;
    ensure!(made.status == 201 && made.json()? == json!({"n": 1}), "{}", made.text());
    ensure!(send(&myna, "GET", &at("/bytes"), &[], &[])?.body == [0, 255, 1]);
    ensure!(send(&myna, "GET", &at("/boom"), &[], &[])?.status == 500);

    let f = make("middy", "index.mjs", middy)?;
    ensure!(f.call(json!({"name": "ADA"}))? == json!({"name": "ada"}));
    ensure!(f.call(json!({"name": "BAD"}))? == json!({"failed": "no"}));
    Ok(())
}
