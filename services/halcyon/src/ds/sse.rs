//! Server-sent events, read as they come.

use anyhow::Result;
use futures::StreamExt;
use reqwest::Response;

/// The longest event, in bytes: more is no log line.
const MAX_EVENT: usize = 1024 * 1024;

/// The data of the events of an answer.
pub(super) struct Events {
    body: futures::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    /// What came in and is no whole line yet.
    rest: Vec<u8>,
    /// The data lines of the event that is coming in.
    data: String,
}

impl Events {
    pub(super) fn of(response: Response) -> Self {
        let body = response
            .bytes_stream()
            .map(|chunk| chunk.map(|bytes| bytes.to_vec()));
        Self {
            body: body.boxed(),
            rest: Vec::new(),
            data: String::new(),
        }
    }

    /// The next event's data; nothing when the stream has ended.
    pub(super) async fn next(&mut self) -> Result<Option<String>> {
        loop {
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if let Some(event) = self.line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']))
                {
                    return Ok(Some(event));
                }
            }
            anyhow::ensure!(
                self.rest.len() + self.data.len() <= MAX_EVENT,
                "an event is too long"
            );
            match self.body.next().await {
                Some(chunk) => self.rest.extend(chunk?),
                None => return Ok(None),
            }
        }
    }

    /// Takes a line. An empty one ends the event.
    fn line(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.data);
            return (!event.is_empty()).then_some(event);
        }
        if let Some(data) = line.strip_prefix("data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_are_put_together_from_whatever_pieces_come() {
        let pieces = [
            "event: log\nda",
            "ta: {\"a\":1}\n",
            "\n: still here\n\ndata:one\r\ndata: two\r\n\r\ndata: lost",
        ];
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(piece.as_bytes().to_vec())).collect();
        let mut events = Events {
            body: futures::stream::iter(pieces).boxed(),
            rest: Vec::new(),
            data: String::new(),
        };
        assert_eq!(events.next().await.unwrap().as_deref(), Some("{\"a\":1}"));
        assert_eq!(events.next().await.unwrap().as_deref(), Some("one\ntwo"));
        assert_eq!(events.next().await.unwrap(), None);
    }
}
