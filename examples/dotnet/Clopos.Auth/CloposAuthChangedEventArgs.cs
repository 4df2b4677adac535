using System;

namespace Clopos.Auth
{
    /// <summary>The argument of <see cref="CloposAuthClient.Changed"/>.</summary>
    public sealed class CloposAuthChangedEventArgs : EventArgs
    {
        internal CloposAuthChangedEventArgs(CloposAuthStatus status) => Status = status;

        /// <summary><see cref="CloposAuthStatus.Ok"/> if there is a new token, otherwise the status with which the last
        /// request failed.</summary>
        public CloposAuthStatus Status { get; }
    }
}
