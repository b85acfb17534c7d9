//! Puts a report together, and keeps it within what one message holds.

use halcyon_domain::{
    assignment::{LogLevel, LogLine},
    clock::Timestamp,
    error::InputError,
    event::Verdict,
    test_run::{CheckStatus, TestJob, TestReport, Warning},
};

use crate::{memory, outcome::Mapped};

/// The most dead letters that get a log line of their own.
const MAX_LINES: usize = 20;

/// A report of a job that cannot be run as it is.
pub(crate) fn refused(errors: Vec<InputError>) -> TestReport {
    TestReport {
        errors,
        ..TestReport::default()
    }
}

/// Takes over what the mapping made.
pub(crate) fn fill(report: &mut TestReport, job: &TestJob, mapped: Mapped, events: usize, now: Timestamp) {
    let mut line_of = |component: &str, level, message| {
        report.logs.push(LogLine {
            organization: job.organization,
            datasource: job.datasource,
            at: now,
            level,
            component: format!("test-runner.{component}"),
            message,
            correlation_id: None,
        });
    };
    for said in &mapped.logs {
        line_of("script", LogLevel::Info, said.clone());
    }
    let mut line = |level, message| line_of("mapping", level, message);
    line(
        LogLevel::Info,
        format!(
            "{events} events with {} records: {} delivered, {} filtered, {} dead-lettered",
            mapped.records,
            mapped.count(Verdict::Delivered),
            mapped.count(Verdict::Filtered),
            mapped.count(Verdict::DeadLettered),
        ),
    );
    for letter in mapped.dead_letters.iter().take(MAX_LINES) {
        line(
            LogLevel::Warn,
            format!("record {} was dead-lettered: {}", letter.record, letter.failure),
        );
    }
    report.metrics.peak_memory_bytes = mapped.peak_memory;
    report.metrics.records_in = mapped.records;
    report.metrics.records_filtered = mapped.filtered;
    report.metrics.records_out = mapped.objects.len() as u64;
    report.outputs = mapped.objects;
    report.records = mapped.verdicts;
    report.dead_letters = mapped.dead_letters;
    report.warnings.extend(mapped.warnings);
}

/// The last touches: whether all is well, how long it took, what it used.
pub(crate) fn finish(mut report: TestReport, duration_ms: f64) -> TestReport {
    report.metrics.duration_ms = duration_ms;
    // A script has its own process, of which more can be said.
    if report.metrics.peak_memory_bytes == 0 {
        report.metrics.peak_memory_bytes = memory::peak_bytes();
    }
    report.ok = report.errors.is_empty()
        && report.dead_letters.is_empty()
        && report.tests.iter().all(|test| test.passed)
        && report
            .checks
            .iter()
            .all(|check| check.status != CheckStatus::Failed);
    report
}

/// Leaves out the later half of the long lists until the report fits a message of `limit` bytes, and says so.
pub(crate) fn fit(mut report: TestReport, limit: usize) -> TestReport {
    let size = |report: &TestReport| serde_json::to_vec(report).map_or(0, |bytes| bytes.len());
    let full = size(&report);
    if full <= limit {
        return report;
    }
    report.warnings.insert(
        0,
        Warning {
            pointer: String::new(),
            code: "truncated".to_owned(),
            message: format!("the report had {full} bytes; its lists are cut short to fit {limit} bytes"),
        },
    );
    // Each round halves everything that grows with the payload, so few rounds are needed.
    for round in 0..24 {
        if size(&report) <= limit {
            break;
        }
        halve(&mut report.outputs);
        // What became of each record is told for as long as there is room.
        if round > 4 {
            halve(&mut report.records);
        }
        halve(&mut report.dead_letters);
        let kept = report.warnings.len().div_ceil(2).max(1);
        report.warnings.truncate(kept);
        halve(&mut report.logs);
        if let Some(comparison) = &mut report.comparison {
            halve(&mut comparison.added);
            halve(&mut comparison.removed);
            halve(&mut comparison.changed);
            halve(&mut comparison.verdicts);
            halve(&mut comparison.outputs);
            halve(&mut comparison.dead_letters);
        }
        for test in &mut report.tests {
            halve(&mut test.failures);
        }
    }
    report
}

fn halve<T>(list: &mut Vec<T>) {
    list.truncate(list.len() / 2);
}
