//! The same APIs for a caller who was known before the request came: the operator on the admin socket.

use super::{AwsDoor, Source};
use model::{
    Principal, Verified,
    ports::{Request, Response},
};

impl AwsDoor {
    /// Answer a request whose sender the door that it came through has established.
    pub async fn trusted(&self, request: Request, principal: Principal, service: &str, source: Source) -> Response {
        self.recorded(self.vouch(request, principal, service), source).await
    }

    /// Say who a request comes from. For doors that authenticate by something else than a signature.
    pub fn vouch<R>(&self, request: R, principal: Principal, service: &str) -> Verified<R> {
        self.authority.vouch(request, principal, service.into())
    }
}
