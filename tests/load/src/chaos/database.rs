//! P8: the database is away for a while. Ingest goes on; the API says so at once; everything is caught up with.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use halcyon_tests::client::Client;

use super::{
    Bench,
    system::{Shape, System, time_until},
    table::Outcome,
    traffic::Traffic,
};

/// How soon the API must say that it cannot answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Postgres is stopped in good order, and started again.
pub(super) async fn stopped(bench: &Bench) -> Result<Outcome> {
    outage(bench, "p8-database-down", async |system: &System, away| {
        if away {
            system.postgres.stop()
        } else {
            system.postgres.resume().await
        }
    })
    .await
}

/// Postgres keeps its connections and says nothing.
pub(super) async fn silent(bench: &Bench) -> Result<Outcome> {
    outage(bench, "p8-database-hangs", async |system: &System, away| {
        system.postgres.signal(if away { "STOP" } else { "CONT" })
    })
    .await
}

async fn outage(
    bench: &Bench,
    name: &str,
    fault: impl AsyncFn(&System, bool) -> Result<()>,
) -> Result<Outcome> {
    let system = System::start(bench, Shape::FULL).await?;
    let client = system.client().await;
    let target = system.feeds(&client, 4, 0).await?;
    let traffic = Traffic::start(target, bench.rate, 0)?;
    let mut outcome = Outcome::default();
    traffic.more(100).await?;
    let away = bench.load(15, 60);
    let before = traffic.accepted();
    fault(&system, true).await?;
    let asked = ask(&client, away, &mut outcome).await;
    let meanwhile = traffic.accepted() - before;
    fault(&system, false).await?;
    let back = SystemTime::now();
    let accepted = traffic.accepted_now();
    let caught_up = time_until("the lag to be gone", Duration::from_secs(180), || async {
        let effects = super::effects::Effects::read(&system.postgres, &system.database).await;
        effects.is_ok_and(|effects| effects.lost(&accepted).is_empty())
    })
    .await;
    match caught_up {
        Ok(time) => {
            outcome.check(
                time <= bench.promised(60),
                format!("the lag was gone only after {:.0} s", time.as_secs_f64()),
            );
            outcome.note(format!("caught up {:.1} s after it was back", time.as_secs_f64()));
        }
        Err(error) => outcome.check(false, format!("{error:#}")),
    }
    traffic.more(50).await?;
    let (seen, _) = system.judge(&mut outcome, traffic, &[back]).await?;
    outcome.failed = seen.lost_requests() + seen.other_than(&[202]);
    outcome.check(
        outcome.failed == 0,
        format!("ingest did not go on: {:?} {:?}", seen.answers, seen.unanswered),
    );
    let at_least = bench.rate as usize * away.as_secs() as usize / 4;
    outcome.check(
        meanwhile >= at_least,
        format!("only {meanwhile} events were accepted meanwhile"),
    );
    outcome.note(format!("away {} s; {asked}", away.as_secs()));
    system.keep_logs(bench, name, &outcome)?;
    Ok(outcome)
}

/// Asks the API again and again while the database is away.
async fn ask(client: &Client, time: Duration, outcome: &mut Outcome) -> String {
    let end = Instant::now() + time;
    let http = reqwest::Client::new();
    let (mut asked, mut slowest) = (0, Duration::ZERO);
    let mut wrong = Vec::new();
    while Instant::now() < end {
        for path in ["/api/v1/datasources", "/api/v1/alerts"] {
            let begun = Instant::now();
            let request = http
                .get(format!("{}{path}", client.url))
                .bearer_auth(client.token());
            let answer = request.timeout(Duration::from_secs(20)).send().await;
            slowest = slowest.max(begun.elapsed());
            asked += 1;
            match answer {
                Ok(answer) if answer.status() == 503 && answer.headers().contains_key("retry-after") => {}
                Ok(answer) => wrong.push(format!("{path}: {}", answer.status())),
                Err(error) => wrong.push(format!("{path}: {error}")),
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    outcome.check(
        wrong.is_empty(),
        format!(
            "{} of {asked} answers were no 503 with Retry-After, such as {:?}",
            wrong.len(),
            wrong.first()
        ),
    );
    outcome.check(
        slowest < ANSWER,
        format!(
            "the API took {:.1} s to say that the database is away",
            slowest.as_secs_f64()
        ),
    );
    format!("{asked} times 503 within {:.2} s", slowest.as_secs_f64())
}
