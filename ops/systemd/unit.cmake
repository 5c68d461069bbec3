# Writes a program's systemd unit from program.service.in, and from what the program says of itself: its sentence, its secrets.
# cmake -D PROGRAM=… -D RUN=…/PROGRAM -D BINDIR=… -D MANY=ON|OFF -D FROM=… -D TO=… -P unit.cmake
# MANY: a template, of which as many instances run as are wanted; each is a static member of its group.
execute_process(COMMAND ${RUN} --help OUTPUT_VARIABLE help COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "^[^\n]* - ([^\n]*)" first "${help}")
set(ABOUT "${CMAKE_MATCH_1}")
string(REGEX MATCHALL "\n  [A-Z_]+[^\n]*[(, ]secret\\)" lines "${help}")
list(TRANSFORM lines REPLACE "\n  ([A-Z_]+) .*" "\\1" OUTPUT_VARIABLE secrets)
foreach(secret PGPASSWORD KAFKA_SASL_PASSWORD ${secrets})
  string(APPEND SECRETS "LoadCredential=${secret}:/etc/shelfwire/secrets/${secret}\nSetCredential=${secret}:\\n\n") # an empty one, where there is none
endforeach()
string(STRIP "${SECRETS}" SECRETS)
set(INSTANCE "")
if(MANY)
  set(INSTANCE "# goes on at once after a restart\nEnvironment=KAFKA_GROUP_INSTANCE_ID=%p-%i")
endif()
configure_file(${FROM} ${TO} @ONLY)
