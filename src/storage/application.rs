//! The limits that every store holds applications and tokens to.

use crate::{
    app::ports::{ApplicationChange, BATCH_CHANGES_MAX, StoreError},
    domain::{application::BYTES_MAX, id::EntityId},
};

/// The bytes of each change's body, in order; `None` deletes.
///
/// The message names a change by its place: ids may be people's.
pub(super) fn bodies(changes: &[ApplicationChange]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    let count = changes.len();
    if count > BATCH_CHANGES_MAX {
        return Err(StoreError::Limit(format!(
            "a batch of {count} changes is too large, expected at most {BATCH_CHANGES_MAX}"
        )));
    }
    changes.iter().enumerate().map(|(index, change)| body(index, change)).collect()
}

fn body(index: usize, change: &ApplicationChange) -> Result<Option<Vec<u8>>, StoreError> {
    if let ApplicationChange::Put(application) = change
        && application.id.len() > EntityId::ID_BYTES_MAX
    {
        let (bytes, max) = (application.id.len(), EntityId::ID_BYTES_MAX);
        return Err(StoreError::Limit(format!("change {index} has an id of {bytes} bytes, expected at most {max}")));
    }
    let bytes = match change {
        ApplicationChange::Put(application) => application.encode(),
        ApplicationChange::PutToken(token) => token.encode(),
        ApplicationChange::Delete(_) | ApplicationChange::DeleteToken(_) => return Ok(None),
    };
    if bytes.len() > BYTES_MAX {
        let message = format!("change {index} takes {} bytes, expected at most {BYTES_MAX}", bytes.len());
        return Err(StoreError::Limit(message));
    }
    Ok(Some(bytes))
}
