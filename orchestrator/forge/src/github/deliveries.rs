//! GitHub's log of the webhooks it sent: three days on github.com, seven on Enterprise Server.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::ForgeError;
use crate::facts::{Delivery, DeliveryPage, DeliveryPayload};
use crate::port::{DeliveryLog, Priority};

use super::client::{Client, PER_PAGE};

pub(super) struct Deliveries {
    pub(super) client: Arc<Client>,
    /// `/app/hook/deliveries`, or that of a repository's hook.
    pub(super) root: String,
}

#[derive(Deserialize)]
struct Item {
    id: u64,
    guid: String,
    event: String,
    action: Option<String>,
    delivered_at: Timestamp,
    status: String,
    status_code: i64,
    #[serde(default)]
    redelivery: bool,
}

#[derive(Deserialize)]
struct Whole {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    headers: Option<BTreeMap<String, Value>>,
    payload: Option<Box<RawValue>>,
}

#[async_trait]
impl DeliveryLog for Deliveries {
    async fn list(&self, cursor: Option<&str>) -> Result<DeliveryPage, ForgeError> {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let answer = self.client.get(&format!("{}?per_page={PER_PAGE}{cursor}", self.root)).await?;
        let items: Vec<Item> = answer.json()?;
        let deliveries = items.into_iter().map(|item| Delivery {
            id: item.id,
            guid: item.guid,
            event: item.event,
            action: item.action,
            delivered_at: item.delivered_at,
            status: item.status,
            status_code: u16::try_from(item.status_code).unwrap_or_default(),
            redelivery: item.redelivery,
        });
        Ok(DeliveryPage { deliveries: deliveries.collect(), next: answer.next("cursor") })
    }

    async fn payload(&self, id: u64) -> Result<DeliveryPayload, ForgeError> {
        let whole: Whole = self.client.read(&format!("{}/{id}", self.root)).await?;
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let headers = whole.request.headers.unwrap_or_default().into_iter();
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect();
        let body = whole.request.payload.map(|payload| payload.get().to_owned()).unwrap_or_default();
        Ok(DeliveryPayload { headers, body })
    }

    async fn redeliver(&self, id: u64) -> Result<(), ForgeError> {
        // Twice is harmless: whoever takes deliveries knows the GUID.
        let path = format!("{}/{id}/attempts", self.root);
        let answer = self.client.send(&Method::POST, &path, None, Priority::Reply).await?;
        if !answer.status.is_success() {
            return Err(ForgeError::Unexpected { message: format!("`{path}` leads elsewhere") });
        }
        Ok(())
    }
}
