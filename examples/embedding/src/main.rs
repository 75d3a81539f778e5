//! A web shop with a scheduler in it: axum answers requests, sqlx keeps the ledger, and flockwork
//! settles each region's orders every two seconds, in one tokio program.
//!
//! `cargo run` serves on a free port until Ctrl-C; started twice with the same `--data`, the two
//! programs share the regions. `cargo run -- --once` waits for the first settlement of every region,
//! asks its own page for them, and exits; its data are in a temporary directory unless `--data` says
//! otherwise.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use flockwork::{Context, Job, Node, Registry};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long `--once` waits: four times what two settlements take.
const ONCE_BOUND: Duration = Duration::from_secs(20);

const REGIONS: [&str; 3] = ["north", "south", "east"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (data, once) = arguments()?;
    let temporary =
        std::env::temp_dir().join(format!("flockwork-embedding-{}", std::process::id()));
    let data = match (data, once) {
        (Some(data), _) => data,
        (None, true) => temporary.clone(),
        (None, false) => PathBuf::from("embedding-data"),
    };
    std::fs::create_dir_all(&data)?;
    let pool = ledger(&data).await?;
    let ledger = pool.clone();
    let job =
        REGIONS.iter().zip(0..).fold(
            Job::every("settle", Duration::from_secs(2)).shards(3),
            |job, (region, shard)| job.shard_parameter(shard, region),
        );
    let node = Node::builder()
        .registry(Registry::embedded(data.join("registry")))
        .namespace("shop")
        .job(job, move |context| settle(ledger.clone(), context))
        .start()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("settlements on http://{address}/settlements, ledger in {}", data.display());
    let app = Router::new().route("/settlements", get(settlements)).with_state(pool);
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    if once {
        let page = tokio::time::timeout(ONCE_BOUND, settled(address)).await??;
        print!("{page}");
    } else {
        tokio::signal::ctrl_c().await?;
    }
    server.abort();
    println!("node stopped: {:?}", node.shutdown().await?);
    if data == temporary {
        std::fs::remove_dir_all(&data)?;
    }
    Ok(())
}

/// `[--once] [--data DIRECTORY]`.
fn arguments() -> Result<(Option<PathBuf>, bool), Box<dyn Error>> {
    let (mut data, mut once) = (None, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--once" => once = true,
            "--data" => {
                data = Some(arguments.next().ok_or("--data needs a directory")?.into());
            }
            other => {
                return Err(format!("{other} is not known; usage: [--once] [--data DIR]").into());
            }
        }
    }
    Ok((data, once))
}

async fn ledger(data: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(data.join("ledger.db"))
        .create_if_missing(true)
        .busy_timeout(Duration::from_secs(5));
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS settlement (
             region TEXT PRIMARY KEY, due TEXT NOT NULL, epoch INTEGER NOT NULL, times INTEGER NOT NULL
         )",
    )
    .execute(&pool)
    .await?;
    Ok(pool)
}

/// One shard: one region. A run that was taken over and comes late writes nothing, as its epoch is
/// the smaller one.
async fn settle(ledger: SqlitePool, context: Context) -> Result<(), Box<dyn Error + Send + Sync>> {
    let region = context.shard_parameter().ok_or("a shard without a region")?;
    let written = sqlx::query(
        "INSERT INTO settlement (region, due, epoch, times) VALUES (?1, ?2, ?3, 1)
         ON CONFLICT (region) DO UPDATE SET due = ?2, epoch = ?3, times = times + 1
         WHERE epoch < ?3",
    )
    .bind(region)
    .bind(context.due().to_string())
    .bind(i64::try_from(context.epoch().0)?)
    .execute(&ledger)
    .await?;
    context.processed(written.rows_affected(), 0);
    Ok(())
}

async fn settlements(State(ledger): State<SqlitePool>) -> Result<String, (StatusCode, String)> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT region, due, times FROM settlement ORDER BY region")
            .fetch_all(&ledger)
            .await
            .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let line = |(region, due, times): (String, String, i64)| format!("{region} {due} {times}\n");
    Ok(rows.into_iter().map(line).collect())
}

/// Asks the page until every region stands on it.
async fn settled(address: std::net::SocketAddr) -> Result<String, Box<dyn Error>> {
    loop {
        let page = request(address).await?;
        if REGIONS.iter().all(|region| page.lines().any(|line| line.starts_with(region))) {
            return Ok(page);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A plain HTTP request, so that the example needs no client.
async fn request(address: std::net::SocketAddr) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = "GET /settlements HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let (head, body) = response.split_once("\r\n\r\n").ok_or("an answer without an end")?;
    match head.starts_with("HTTP/1.1 200 ") {
        true => Ok(body.to_owned()),
        false => Err(format!("the page answered {head}").into()),
    }
}
