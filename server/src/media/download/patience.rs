//! A download whose reader stands still is given up, so that it does not hold its file or its connection to the S3 server
//! for ever.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::{sync::mpsc, time::timeout};

/// The same stream, but if its reader takes longer than `wait` for a piece, the stream is dropped and ends in an error.
pub(super) fn limited(
    mut pieces: BoxStream<'static, io::Result<Bytes>>,
    wait: Duration,
) -> BoxStream<'static, io::Result<Bytes>> {
    // `None` is the end; a channel that closes without it has been given up.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let piece = pieces.next().await;
            let is_last = piece.is_none();
            let sent = timeout(wait, sender.send(piece)).await;
            if is_last || !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    });
    let given_up = || Some(Err(ErrorKind::TimedOut.into()));
    stream::unfold(Some(receiver), move |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            None => Some((given_up()?, None)),
            Some(piece) => Some((piece?, Some(receiver))),
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::TryStreamExt;

    use super::*;

    /// Ten pieces, and what tells when they are dropped.
    fn pieces() -> (BoxStream<'static, io::Result<Bytes>>, Arc<()>) {
        let held = Arc::new(());
        let holder = held.clone();
        let pieces = stream::iter(0..10_u8).map(move |n| {
            let _ = &holder;
            Ok(Bytes::from(vec![n]))
        });
        (pieces.boxed(), held)
    }

    #[tokio::test]
    async fn a_reader_that_goes_on_gets_everything() {
        let (pieces, _) = pieces();
        let read: Vec<Bytes> = limited(pieces, Duration::from_secs(30))
            .try_collect()
            .await
            .unwrap();
        assert_eq!(read.concat(), (0..10).collect::<Vec<u8>>());
    }

    #[tokio::test]
    async fn a_reader_that_stands_still_lets_the_file_go_and_finds_an_error() {
        let (pieces, held) = pieces();
        let mut stream = limited(pieces, Duration::from_millis(50));
        assert_eq!(stream.try_next().await.unwrap().unwrap(), [0][..]);
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
        let rest = stream.try_collect::<Vec<_>>().await;
        assert_eq!(rest.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
